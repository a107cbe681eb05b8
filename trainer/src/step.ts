import { gradients } from './grad.ts'
import { createGraph, type Graph, type Node } from './graph.ts'
import type { Parameters } from './layers.ts'
import type { Ops } from './ops.ts'
import {
  type AdamConfig,
  adamStep,
  clipScale,
  norm,
  type OptimizerState,
  type StepScalars,
  stepScalarNames,
} from './optimizer.ts'
import { type Chunk, chunksOf, layoutOf } from './parameters.ts'
import { sizeOf } from './shapes.ts'
import { dropoutLayout, parameterSpecs, type UNetConfig, type UNetInputs, unet } from './unet.ts'
import { variationalTerm } from './variational.ts'

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
    dropoutMask:
      dropout === null ? () => null : dropoutMasks(ops, config, { masks: dropout, picture: shape }),
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
  { masks, picture: [n, , height, width] }: { masks: T; picture: readonly number[] },
): UNetInputs<T>['dropoutMask'] {
  const { blocks } = dropoutLayout(config, { height: height!, width: width! })
  return (block, shape) => {
    const { start, end } = blocks.get(block)!
    return ops.reshape(ops.slice(masks, { axis: 1, start, end }), [n!, ...shape])
  }
}

/** Parameters in flat vectors, one per chunk, recorded in a graph. */
interface FlatParameters {
  readonly vectors: readonly Node[]
  /** The parameter tensors of each chunk, views of its vector. */
  readonly views: readonly (readonly Node[])[]
  readonly parameters: Parameters<Node>
}

function flatParameters(
  { ops, input }: Graph,
  chunks: readonly Chunk[],
  nameOf: (chunk: number) => string,
): FlatParameters {
  const vectors = chunks.map(({ start, end }, i) => input(nameOf(i), [end - start]))
  const views = chunks.map(({ entries, start: origin }, i) =>
    entries.map(({ shape, offset, size }) => {
      const start = offset - origin
      return ops.reshape(ops.slice(vectors[i]!, { axis: 0, start, end: start + size }), shape)
    }),
  )
  const byName = new Map(
    chunks.flatMap(({ entries }, i) => entries.map(({ name }, j) => [name, views[i]![j]!] as const)),
  )
  return { vectors, views, parameters: ({ name, shape }) => byName.get(name) ?? input(name, shape) }
}

/**
 * Prediction with the parameters as inputs, in chunks (chunkName); x, timestep and label → output. The batch is open.
 */
export function predictionGraph({ unet: config, height, width }: NetworkSpec): Record<string, Node> {
  const graph = createGraph()
  const { parameters } = flatParameters(graph, stateChunks(config), (i) => chunkName('parameters', i))
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

/** The loss and its gradient, recorded; inputs: parameters, x0, noise, timestep, label, coefficients, dropout. */
interface Objective {
  readonly graph: Graph
  /** [1] */
  readonly loss: Node
  /** Of each chunk, as flat vectors. */
  readonly parameters: readonly Node[]
  readonly gradients: readonly Node[]
}

/** A batch as inputs of a graph, under the names that it has there. */
export function batchInputs(
  { input }: Graph,
  { unet: config, height, width, batch }: StepSpec,
): BatchInputs<Node> {
  const picture = [batch, config.inputChannels, height, width]
  const masked = dropoutLayout(config, { height, width }).size
  return {
    x0: input('x0', picture),
    noise: input('noise', picture),
    timestep: input('timestep', [batch]),
    label: config.classes > 0 ? input('label', [batch]) : null,
    coefficients: input('coefficients', [batch, coefficientNames.length]),
    dropout: masked > 0 ? input('dropout', [batch, masked]) : null,
  }
}

function objective(spec: StepSpec, chunks: readonly Chunk[]): Objective {
  const graph = createGraph()
  const { ops } = graph
  const { vectors, views, parameters } = flatParameters(graph, chunks, (i) => chunkName('parameters', i))
  const loss = denoisingLoss(ops, spec, parameters, batchInputs(graph, spec))
  const parts = gradients(graph, loss, views.flat()).map((part) => ops.reshape(part, [sizeOf(part.shape)]))
  let taken = 0
  const gradientOf = (own: readonly Node[]) => ops.concat(parts.slice(taken, (taken += own.length)), 0)
  return { graph, loss, parameters: vectors, gradients: views.map(gradientOf) }
}

/** Names of the state's vectors [P]. */
export const stateNames = ['parameters', 'firstMoment', 'secondMoment', 'ema'] as const

/** A state of whatever `f` makes for each name. */
export function mapState<T>(f: (name: (typeof stateNames)[number], i: number) => T): OptimizerState<T> {
  return Object.fromEntries(stateNames.map((name, i) => [name, f(name, i)])) as unknown as OptimizerState<T>
}

/**
 * The optimizer goes through the vectors in chunks of about so many elements, each of which stays in the processor's
 * cache until all is done with it: vectors as long as a network would go through memory a dozen times.
 */
const chunkSize = 2 ** 18

/** The chunks in which the training graph takes and gives the state. */
export function stateChunks(config: UNetConfig): Chunk[] {
  return chunksOf(layoutOf(parameterSpecs(config)), chunkSize)
}

/** What a chunk of a vector is called in the graphs of a step. */
export function chunkName(name: (typeof stateNames)[number] | 'accumulated', chunk: number): string {
  return `${name}.${chunk}`
}

/**
 * The whole training step: forward pass, loss, gradients, clipping, Adam and the moving average as one graph.
 *
 * Inputs: the state's vectors in chunks (chunkName); x0, noise [N, C, H, W]; timestep, label [N]; coefficients [N, 5];
 * dropout [N, masks]; scalars [4]. Outputs: the next state (`next.` before the same names), loss [1],
 * gradientNorm [1].
 */
export function trainingGraph(spec: StepSpec): Record<string, Node> {
  const { graph, loss, parameters, gradients } = objective(spec, stateChunks(spec.unet))
  return { loss, ...update(graph, spec, parameters, gradients) }
}

/**
 * The first half of a step of several micro-batches: adds the gradient of one to those before it.
 *
 * Inputs: parameters and accumulated gradients in chunks, and a batch as in `trainingGraph`. Outputs: the gradients
 * with this one (`next.` before their names), loss [1].
 */
export function accumulationGraph(spec: StepSpec): Record<string, Node> {
  const { graph, loss, gradients } = objective(spec, stateChunks(spec.unet))
  const sums = gradients.map((gradient, i) => {
    const name = chunkName('accumulated', i)
    return [`next.${name}`, graph.ops.add(graph.input(name, gradient.shape), gradient)] as const
  })
  return { loss, ...Object.fromEntries(sums) }
}

/**
 * The second half: the optimizer's step on the mean of the accumulated gradients. The network is not in it, so that
 * only one graph holds activations.
 *
 * Inputs: the state's vectors and accumulated gradients in chunks; scalars [4]. Outputs: the next state, gradientNorm [1].
 */
export function updateGraph(spec: StepSpec): Record<string, Node> {
  const graph = createGraph()
  const { input, ops } = graph
  const chunks = stateChunks(spec.unet).map(({ start, end }, i) => ({ i, shape: [end - start] }))
  const parameters = chunks.map(({ i, shape }) => input(chunkName('parameters', i), shape))
  const gradients = chunks.map(({ i, shape }) =>
    ops.scale(input(chunkName('accumulated', i), shape), 1 / (spec.accumulate ?? 1)),
  )
  return update(graph, spec, parameters, gradients)
}

/** Clipping, Adam and the moving average. */
function update(
  graph: Graph,
  spec: StepSpec,
  parameters: readonly Node[],
  gradients: readonly Node[],
): Record<string, Node> {
  const { ops } = graph
  const gradientNorm = norm(ops, gradients)
  const scale = spec.clipNorm === null ? null : clipScale(ops, gradientNorm, spec.clipNorm)
  const scalars = fedScalars(graph)
  const next = gradients.flatMap((gradient, i) => {
    const vector = (name: (typeof stateNames)[number]) =>
      graph.input(chunkName(name, i), parameters[i]!.shape)
    const state = mapState((name) => (name === 'parameters' ? parameters[i]! : vector(name)))
    const clipped = scale === null ? gradient : ops.mul(gradient, scale)
    const moved = adamStep(ops, state, clipped, scalars, spec.adam)
    return stateNames.map((name) => [`next.${chunkName(name, i)}`, moved[name]] as const)
  })
  return { gradientNorm, ...Object.fromEntries(next) }
}

function fedScalars({ ops, input }: { ops: Ops<Node>; input: Graph['input'] }): StepScalars<Node> {
  const all = input('scalars', [stepScalarNames.length])
  return Object.fromEntries(
    stepScalarNames.map((name, i) => [name, ops.slice(all, { axis: 0, start: i, end: i + 1 })]),
  ) as unknown as StepScalars<Node>
}
