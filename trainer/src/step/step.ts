import { gradients } from '../algebra/grad.ts'
import { createGraph, type Graph, type Node } from '../algebra/graph.ts'
import type { Ops } from '../algebra/ops.ts'
import { sameShape, sizeOf } from '../algebra/shape-rules.ts'
import type { Parameters } from '../network/layers.ts'
import type { Chunk } from '../network/parameters.ts'
import { dropoutLayout, type UNetConfig, type UNetInputs, unet } from '../network/unet.ts'
import { variationalTerm } from '../objective/variational.ts'
import {
  type AdamConfig,
  adamStep,
  norm,
  type OptimizerState,
  type StepScalars,
  stepScalarNames,
} from './optimizer.ts'

/** A network and the pictures it is for. */
export interface NetworkSpec {
  readonly unet: UNetConfig
  readonly height: number
  readonly width: number
}

export interface StepSpec extends NetworkSpec {
  /** Pictures per micro-batch: as many are in memory at once. */
  readonly batch: number
  /** Micro-batches per step; 1 unless told. */
  readonly accumulate?: number
  readonly adam: AdamConfig
  /** Bound of the gradient's norm; null does not clip. */
  readonly clipNorm: number | null
  /** Of a network that learns variances: variationalTable of its schedule. */
  readonly variational?: Float32Array
}

/**
 * Per-picture numbers of the training objective, [N, 5]: x_t = signal·x0 + noise·ε, the target is
 * targetSignal·x0 + targetNoise·ε, and the squared error counts `weight` times.
 */
export const coefficientNames = ['signal', 'noise', 'targetSignal', 'targetNoise', 'weight'] as const

/** What one batch brings, as tensors of any interpreter: see Batch. */
export interface BatchInputs<T> {
  readonly x0: T
  readonly noise: T
  readonly timestep: T
  readonly label: T | null
  readonly coefficients: T
  readonly dropout: T | null
}

/** The share of L_vlb in the loss of a network that learns variances (Improved DDPM section 3.1). */
const variationalWeight = 0.001

/**
 * The loss [1] of a batch: L_simple (DDPM eq. 14) where all weights are 1. A network that learns variances has L_hybrid,
 * L_simple + 0.001·L_vlb (Improved DDPM eq. 16), L_vlb being T times the mean of its terms, in bits per dimension.
 */
export function denoisingLoss<T>(
  ops: Ops<T>,
  { unet: config, variational }: Pick<StepSpec, 'unet' | 'variational'>,
  parameters: Parameters<T>,
  { x0, noise, timestep, label, coefficients, dropout }: BatchInputs<T>,
): T {
  const shape = ops.shape(x0) as readonly number[]
  const coefficient = (name: (typeof coefficientNames)[number]) => {
    const column = coefficientNames.indexOf(name)
    return ops.reshape(ops.slice(coefficients, { axis: 1, start: column, end: column + 1 }), [
      shape[0]!,
      1,
      1,
      1,
    ])
  }
  const mix = (a: T, b: T) => ops.add(ops.mul(x0, a), ops.mul(noise, b))

  const whole = unet(ops, config, parameters, {
    x: mix(coefficient('signal'), coefficient('noise')),
    timestep,
    label,
    dropoutMask: dropout === null ? () => null : dropoutMasks(ops, config, { masks: dropout, image: shape }),
  })
  // Of a network that learns variances the first half of the channels predicts, the second one places the variances.
  const part = (start: number) => ops.slice(whole, { axis: 1, start, end: start + config.inputChannels })
  const output = variational === undefined ? whole : part(0)
  const error = ops.sub(output, mix(coefficient('targetSignal'), coefficient('targetNoise')))
  const squares = ops.reduceSum(ops.mul(error, error), [1, 2, 3])
  const total = ops.reduceSum(ops.mul(squares, coefficient('weight')), [0])
  const elements = shape.reduce((a, b) => a * b, 1)
  const simple = ops.reshape(ops.scale(total, 1 / elements), [1])
  if (variational === undefined) return simple
  const place = part(config.inputChannels)
  const terms = variationalTerm(ops, variational, { timestep, x0, error, place })
  const bound = ops.scale(ops.reduceSum(terms, [0]), config.timesteps / shape[0]!)
  return ops.add(simple, ops.reshape(ops.scale(bound, variationalWeight), [1]))
}

/** The masks of all blocks come as one tensor [N, dropoutLayout's size]. */
function dropoutMasks<T>(
  ops: Ops<T>,
  config: UNetConfig,
  { masks, image: [n, , height, width] }: { masks: T; image: readonly number[] },
): UNetInputs<T>['dropoutMask'] {
  const { blocks } = dropoutLayout(config, { height: height!, width: width! })
  return (block, shape) => {
    const { start, end } = blocks.get(block)!
    return ops.reshape(ops.slice(masks, { axis: 1, start, end }), [n!, ...shape])
  }
}

/** Parameters in vectors, one per chunk, recorded in a graph. */
interface FlatParameters {
  /** The parameter tensors of each chunk, views of its vector. */
  readonly views: readonly (readonly Node[])[]
  readonly parameters: Parameters<Node>
}

function flatParameters({ ops, input }: Graph, chunks: readonly Chunk[]): FlatParameters {
  const views = chunks.map((chunk, i) => {
    const whole = input(chunkName('parameters', i), chunk.shape)
    return chunk.entries.map(({ shape, offset, size }) => {
      if (sameShape(shape, chunk.shape)) return whole
      const start = offset - chunk.start
      return ops.reshape(ops.slice(whole, { axis: 0, start, end: start + size }), shape)
    })
  })
  const byName = new Map(
    chunks.flatMap(({ entries }, i) => entries.map(({ name }, j) => [name, views[i]![j]!] as const)),
  )
  return { views, parameters: ({ name, shape }) => byName.get(name) ?? input(name, shape) }
}

/**
 * Prediction with the parameters as inputs, in chunks (chunkName); x, timestep and label → output. The batch is open.
 */
export function predictionGraph(
  { unet: config, height, width }: NetworkSpec,
  chunks: readonly Chunk[],
): Record<string, Node> {
  const graph = createGraph()
  const { parameters } = flatParameters(graph, chunks)
  const output = unet(graph.ops, config, parameters, {
    x: graph.input('x', ['N', config.inputChannels, height, width]),
    timestep: graph.input('timestep', ['N']),
    label: config.classes > 0 ? graph.input('label', ['N']) : null,
  })
  return { output }
}

/**
 * The network with every parameter an input of its own, for export. The batch is open.
 * @param names of the graph's inputs
 */
export function networkGraph(
  { unet: config, height, width }: NetworkSpec,
  names: { readonly sample: string; readonly timestep: string; readonly label: string },
): Node {
  const graph = createGraph()
  return unet(graph.ops, config, ({ name, shape }) => graph.input(name, shape), {
    x: graph.input(names.sample, ['N', config.inputChannels, height, width]),
    timestep: graph.input(names.timestep, ['N']),
    label: config.classes > 0 ? graph.input(names.label, ['N']) : null,
  })
}

/** A batch as inputs of a graph, under the names that it has there. */
export function batchInputs(
  { input }: Graph,
  { unet: config, height, width, batch }: StepSpec,
): BatchInputs<Node> {
  const image = [batch, config.inputChannels, height, width]
  const masked = dropoutLayout(config, { height, width }).size
  return {
    x0: input('x0', image),
    noise: input('noise', image),
    timestep: input('timestep', [batch]),
    label: config.classes > 0 ? input('label', [batch]) : null,
    coefficients: input('coefficients', [batch, coefficientNames.length]),
    dropout: masked > 0 ? input('dropout', [batch, masked]) : null,
  }
}

/** Names of the state's vectors [P]. */
export const stateNames = ['parameters', 'firstMoment', 'secondMoment', 'ema'] as const

/** A state of whatever `f` makes for each name. */
export function mapState<T>(f: (name: (typeof stateNames)[number], i: number) => T): OptimizerState<T> {
  return Object.fromEntries(stateNames.map((name, i) => [name, f(name, i)])) as unknown as OptimizerState<T>
}

/** What a chunk of a vector is called in the graphs of a step. */
export function chunkName(
  name: (typeof stateNames)[number] | 'accumulated' | 'gradients',
  chunk: number,
): string {
  return `${name}.${chunk}`
}

/**
 * The first half of a training step: forward pass, loss and gradients as one graph. In a step of several micro-batches
 * it adds the gradients of one to those before it.
 *
 * Inputs: parameters, and with micro-batches `accumulated` gradients, in chunks (chunkName); x0, noise [N, C, H, W];
 * timestep, label [N]; coefficients [N, 5]; dropout [N, masks]. Outputs: `gradients` in chunks; loss [1]; gradientNorm
 * [1], of the gradients as they go out.
 */
export function gradientGraph(spec: StepSpec, chunks: readonly Chunk[]): Record<string, Node> {
  const graph = createGraph()
  const { ops, input } = graph
  const { views, parameters } = flatParameters(graph, chunks)
  const loss = denoisingLoss(ops, spec, parameters, batchInputs(graph, spec))
  const parts = gradients(graph, loss, views.flat())
  let taken = 0
  const given = new Set<Node>()
  const own = chunks.map(({ entries, shape }) => {
    const [first, ...others] = parts.slice(taken, (taken += entries.length))
    if (sameShape(first!.shape, shape)) {
      // Biases that are added to the same sum have one gradient, which goes out as a value of its own for each.
      let gradient = first!
      while (given.has(gradient)) gradient = ops.reshape(gradient, shape)
      given.add(gradient)
      return gradient
    }
    const flat = [first!, ...others].map((part) => ops.reshape(part, [sizeOf(part.shape)]))
    return ops.concat(flat, 0)
  })
  const sums =
    (spec.accumulate ?? 1) === 1
      ? own
      : own.map((gradient, i) => ops.add(input(chunkName('accumulated', i), gradient.shape), gradient))
  return {
    loss,
    ...Object.fromEntries(sums.map((gradient, i) => [chunkName('gradients', i), gradient])),
    gradientNorm: norm(ops, sums),
  }
}

/**
 * The second half: Adam and the moving average, where the state is on a device.
 *
 * Inputs: the state's vectors and `gradients` in chunks (chunkName); gradientScale [1], what they are multiplied by;
 * scalars [4]. Outputs: the next state (`next.` before the same names).
 */
export function updateGraph(chunks: readonly Chunk[], adam: AdamConfig): Record<string, Node> {
  const { input, ops } = createGraph()
  const gradientScale = input('gradientScale', [1])
  const all = input('scalars', [stepScalarNames.length])
  const scalars = Object.fromEntries(
    stepScalarNames.map((name, i) => [name, ops.slice(all, { axis: 0, start: i, end: i + 1 })]),
  ) as unknown as StepScalars<Node>
  return Object.fromEntries(
    chunks.flatMap(({ shape }, i) => {
      const state = mapState((name) => input(chunkName(name, i), shape))
      const gradient = ops.mul(input(chunkName('gradients', i), shape), gradientScale)
      const moved = adamStep(ops, state, gradient, scalars, adam)
      return stateNames.map((name) => [`next.${chunkName(name, i)}`, moved[name]] as const)
    }),
  )
}
