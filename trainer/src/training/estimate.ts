import { type Node, type OpNode, reachable } from '../algebra/graph.ts'
import type { Op, Primitives, Shape } from '../algebra/ops.ts'
import { sizeOf } from '../algebra/shape-rules.ts'
import { layoutOf, singlesOf } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import { gradientGraph, type StepSpec, stateNames } from '../step/step.ts'
import { formatDuration } from '../support/duration.ts'

/** What a training step costs, read off its recorded graph. */
export interface StepCost {
  /** Trained parameters. */
  readonly parameters: number
  /** Floating point operations of convolutions and matrix products; a multiplication and its addition are two. */
  readonly flops: { readonly forward: number; readonly backward: number }
  /**
   * Bytes that are needed at once: the state, the gradients and the values that wait for their last reader. Engines that
   * rearrange data for their kernels need more.
   */
  readonly bytes: number
}

/** What one step of this network and batch costs: where it is cut into micro-batches, all of them. */
export function stepCost(spec: StepSpec): StepCost {
  const layout = layoutOf(parameterSpecs(spec.unet))
  const { size } = layout
  const accumulate = spec.accumulate ?? 1
  const outputs = gradientGraph(spec, singlesOf(layout))
  const all = reachable(Object.values(outputs))
  const forward = flopsOf(reachable([outputs['loss']!]))
  // The graph of gradients sees the parameters; moments and average wait for the update.
  const waiting = (stateNames.length - 1) * 4 * size
  return {
    parameters: size,
    flops: { forward: accumulate * forward, backward: accumulate * (flopsOf(all) - forward) },
    bytes: peakBytes(all, Object.values(outputs)) + waiting,
  }
}

function flopsOf(nodes: readonly Node[]): number {
  return nodes.reduce((sum, node) => sum + (node.kind === 'op' ? flopsOfNode(node) : 0), 0)
}

/** Every element of dy, or of the output, was made of, or goes to, all inputs under the kernel: two for each pair. */
function flopsOfNode({ op, inputs, attributes, shape }: OpNode): number {
  const shapes = inputs.map((input) => input.shape)
  const pairs = (output: Shape, weight: Shape) => (2 * sizeOf(output) * sizeOf(weight)) / Number(weight[0])
  switch (op) {
    case 'conv2d':
      return pairs(shape, shapes[1]!)
    case 'conv2dInputGrad':
      return pairs(shapes[0]!, shapes[1]!)
    case 'conv2dWeightGrad':
      return pairs(shapes[1]!, shape)
    case 'matmul': {
      const inner = shapes[0]!.at((attributes as Primitives['matmul']).transposeA ? -2 : -1)
      return 2 * sizeOf(shape) * Number(inner)
    }
    default:
      return 0
  }
}

/** Operations whose result is their input's memory. */
const views: ReadonlySet<Op> = new Set<Op>(['reshape', 'stopGradient'])

/**
 * The most that is held at once when nodes are computed in the order in which they were recorded: inputs, constants and
 * outputs all the time, what lies between until its last reader is done.
 */
function peakBytes(nodes: readonly Node[], outputs: readonly Node[]): number {
  const bytesOf = ({ shape }: Node) => 4 * sizeOf(shape)
  const owner = new Map<Node, Node>()
  const lastReader = new Map<Node, Node>()
  for (const node of nodes) {
    const isView = node.kind === 'op' && views.has(node.op)
    owner.set(node, isView ? owner.get(node.inputs[0]!)! : node)
    for (const input of node.kind === 'op' ? node.inputs : []) lastReader.set(owner.get(input)!, node)
  }
  const standing = new Set([
    ...nodes.filter(({ kind }) => kind !== 'op'),
    ...outputs.map((node) => owner.get(node)!),
  ])
  const freedBy = new Map<Node, number>()
  for (const [value, reader] of lastReader) {
    if (!standing.has(value)) freedBy.set(reader, (freedBy.get(reader) ?? 0) + bytesOf(value))
  }
  let held = [...standing].reduce((sum, node) => sum + bytesOf(node), 0)
  let peak = held
  for (const node of nodes) {
    if (owner.get(node) === node && !standing.has(node)) held += bytesOf(node)
    peak = Math.max(peak, held)
    held -= freedBy.get(node) ?? 0
  }
  return peak
}

function billions(operations: number): string {
  return (operations / 1e9).toPrecision(3)
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6).toLocaleString('en')} MB`
}

/** A step's cost in words. */
export function describeCost({ flops: { forward, backward }, bytes }: StepCost): string {
  return (
    `${billions(forward + backward)} GFLOP per step (${billions(forward)} forward, ${billions(backward)} backward, in ` +
    `convolutions and matrix products); at least ${megabytes(bytes)} of memory, by the sizes in the graph`
  )
}

/**
 * What a run will take, told from its first steps, in words.
 * @param milliseconds that the steps took; the middle one counts, for the first warms up
 * @param left steps to go
 * @param peak bytes of memory at most so far
 */
export function describeForecast(
  { flops }: StepCost,
  milliseconds: readonly number[],
  left: number,
  peak = process.resourceUsage().maxRSS * 1024,
): string {
  const seconds = milliseconds.toSorted((a, b) => a - b)[Math.floor(milliseconds.length / 2)]! / 1000
  return (
    `${milliseconds.length} steps measured: ${(seconds * 1000).toFixed(0)} ms each ` +
    `(${billions((flops.forward + flops.backward) / seconds)} GFLOP/s), ${megabytes(peak)} of memory at most; the other ` +
    `${left} take about ${formatDuration(seconds * left)}, without validation and samples`
  )
}
