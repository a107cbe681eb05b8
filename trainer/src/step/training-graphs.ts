import { gradients } from '../algebra/grad.ts'
import { createGraph, type Graph, type Node } from '../algebra/graph.ts'
import { sameShape, sizeOf } from '../algebra/shape-rules.ts'
import type { Chunk } from '../network/parameters.ts'
import { dropoutLayout } from '../network/unet.ts'
import { coefficientNames, type DenoisingInputs, denoisingLoss } from '../objective/denoising.ts'
import { chunkedParameters, chunkName } from './chunked-parameters.ts'
import {
  type AdamConfig,
  adamStep,
  mapState,
  norm,
  type StepScalars,
  stateNames,
  stepScalarNames,
} from './optimizer.ts'
import type { StepSpec } from './spec.ts'

// A training step is two graphs: gradientGraph, then updateGraph if the gradients are finite.

/**
 * Records the forward pass, the loss and the gradients. With several micro-batches per step, the graph adds the
 * gradients of one micro-batch to the accumulated ones.
 *
 * Inputs: `parameters` and, with micro-batches, `accumulated` gradients, in chunks (see `chunkName`); the batch (see
 * `batchInputs`).
 * Outputs: `gradients` in chunks; loss [1]; gradientNorm [1] of the returned gradients.
 */
export function gradientGraph(spec: StepSpec, chunks: readonly Chunk[]): Record<string, Node> {
  const graph = createGraph()
  const { ops, input } = graph
  const { views, parameters } = chunkedParameters(graph, chunks)
  const loss = denoisingLoss(ops, spec, parameters, batchInputs(graph, spec))
  const parts = gradients(graph, loss, views.flat())
  let position = 0
  const outputs = new Set<Node>()
  const batchGradients = chunks.map(({ entries, shape }) => {
    const [first, ...others] = parts.slice(position, (position += entries.length))
    if (sameShape(first!.shape, shape)) {
      // Biases that are added to the same tensor share one gradient node, but every output needs a separate node.
      let gradient = first!
      while (outputs.has(gradient)) gradient = ops.reshape(gradient, shape)
      outputs.add(gradient)
      return gradient
    }
    const flat = [first!, ...others].map((part) => ops.reshape(part, [sizeOf(part.shape)]))
    return ops.concat(flat, 0)
  })
  const sums =
    (spec.accumulate ?? 1) === 1
      ? batchGradients
      : batchGradients.map((gradient, i) =>
          ops.add(input(chunkName('accumulated', i), gradient.shape), gradient),
        )
  return {
    loss,
    ...Object.fromEntries(sums.map((gradient, i) => [chunkName('gradients', i), gradient])),
    gradientNorm: norm(ops, sums),
  }
}

/** Adds the inputs of a batch to a graph, under the names of `DenoisingInputs`. */
export function batchInputs(
  { input }: Graph,
  { unet: config, height, width, batch }: StepSpec,
): DenoisingInputs<Node> {
  const image = [batch, config.inputChannels, height, width]
  const maskSize = dropoutLayout(config, { height, width }).size
  return {
    x0: input('x0', image),
    noise: input('noise', image),
    timestep: input('timestep', [batch]),
    label: config.classes > 0 ? input('label', [batch]) : null,
    coefficients: input('coefficients', [batch, coefficientNames.length]),
    dropout: maskSize > 0 ? input('dropout', [batch, maskSize]) : null,
  }
}

/**
 * Records the Adam and EMA update, for engines that store the state on a device.
 *
 * Inputs: the state's vectors and `gradients` in chunks (see `chunkName`); gradientScale [1], the factor applied to
 * the gradients; scalars [4] (see `packScalars`).
 * Outputs: the next state, with the prefix `next.`.
 */
export function updateGraph(chunks: readonly Chunk[], adam: AdamConfig): Record<string, Node> {
  const { input, ops } = createGraph()
  const gradientScale = input('gradientScale', [1])
  const packed = input('scalars', [stepScalarNames.length])
  const scalar = (name: keyof StepScalars<Node>) => {
    const start = stepScalarNames.indexOf(name)
    return ops.slice(packed, { axis: 0, start, end: start + 1 })
  }
  const scalars: StepScalars<Node> = {
    stepSize: scalar('stepSize'),
    rootCorrection: scalar('rootCorrection'),
    weightScale: scalar('weightScale'),
    emaRate: scalar('emaRate'),
  }
  return Object.fromEntries(
    chunks.flatMap(({ shape }, i) => {
      const state = mapState((name) => input(chunkName(name, i), shape))
      const gradient = ops.mul(input(chunkName('gradients', i), shape), gradientScale)
      const next = adamStep(ops, state, gradient, scalars, adam)
      return stateNames.map((name) => [`next.${chunkName(name, i)}`, next[name]] as const)
    }),
  )
}

/** Packs the scalars into the input `scalars` of `updateGraph`. */
export function packScalars(scalars: StepScalars<number>): Float32Array {
  return Float32Array.from(stepScalarNames, (name) => scalars[name])
}
