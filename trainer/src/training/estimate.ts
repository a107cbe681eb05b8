import { type Node, type OpNode, reachable } from '../algebra/graph.ts'
import type { Op, Primitives, Shape } from '../algebra/ops.ts'
import { sizeOf } from '../algebra/shape-rules.ts'
import { createParameterLayout, splitPerParameter } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import { stateNames } from '../step/optimizer.ts'
import type { StepSpec } from '../step/spec.ts'
import { gradientGraph } from '../step/training-graphs.ts'
import { formatDuration } from '../support/duration.ts'

/** Cost of a training step, computed from its recorded graph. */
export interface StepCost {
  /** Number of trained parameters. */
  readonly parameters: number
  /** Floating-point operations of convolutions and matrix products. A multiply-add counts as two. */
  readonly flops: { readonly forward: number; readonly backward: number }
  /**
   * Peak memory in bytes: the state, the gradients and the intermediate values that are still needed. Engines need more if
   * they rearrange data for their kernels.
   */
  readonly bytes: number
}

/** Returns the cost of one training step, over all of its micro-batches. */
export function stepCost(spec: StepSpec): StepCost {
  const layout = createParameterLayout(parameterSpecs(spec.unet))
  const { size } = layout
  const accumulate = spec.accumulate ?? 1
  const outputs = gradientGraph(spec, splitPerParameter(layout))
  const all = reachable(Object.values(outputs))
  const forward = flopsOf(reachable([outputs['loss']!]))
  // The parameters are inputs of the gradient graph, so peakBytes counts them. The moments and the EMA are added.
  const otherState = (stateNames.length - 1) * 4 * size
  return {
    parameters: size,
    flops: { forward: accumulate * forward, backward: accumulate * (flopsOf(all) - forward) },
    bytes: peakBytes(all, Object.values(outputs)) + otherState,
  }
}

function flopsOf(nodes: readonly Node[]): number {
  return nodes.reduce((sum, node) => sum + (node.kind === 'op' ? flopsOfNode(node) : 0), 0)
}

/** Counts a multiply-add for each pair of an output element and an element of its kernel window. */
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

/** Operations whose output shares the memory of their input. */
const views: ReadonlySet<Op> = new Set<Op>(['reshape', 'stopGradient'])

/**
 * Returns the peak memory if nodes are computed in the recorded order. Inputs, constants and outputs stay in memory.
 * Intermediate values stay until the last node that reads them has been computed.
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
  const permanent = new Set([
    ...nodes.filter(({ kind }) => kind !== 'op'),
    ...outputs.map((node) => owner.get(node)!),
  ])
  const freedBy = new Map<Node, number>()
  for (const [value, reader] of lastReader) {
    if (!permanent.has(value)) freedBy.set(reader, (freedBy.get(reader) ?? 0) + bytesOf(value))
  }
  let allocated = [...permanent].reduce((sum, node) => sum + bytesOf(node), 0)
  let peak = allocated
  for (const node of nodes) {
    if (owner.get(node) === node && !permanent.has(node)) allocated += bytesOf(node)
    peak = Math.max(peak, allocated)
    allocated -= freedBy.get(node) ?? 0
  }
  return peak
}

function formatGiga(operations: number): string {
  return (operations / 1e9).toPrecision(3)
}

function formatMegabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6).toLocaleString('en')} MB`
}

/** Formats the cost of a step. */
export function describeCost({ flops: { forward, backward }, bytes }: StepCost): string {
  return (
    `${formatGiga(forward + backward)} GFLOP per step (${formatGiga(forward)} forward, ${formatGiga(backward)} backward, in ` +
    `convolutions and matrix products); at least ${formatMegabytes(bytes)} of memory ` +
    '(estimated from the tensor sizes in the graph)'
  )
}

/**
 * Formats a forecast of a run's duration from its first steps.
 * @param milliseconds durations of the first steps. Their median is used, because the first step is slower (warm-up).
 * @param left number of remaining steps
 * @param peak peak memory of the process so far, in bytes
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
    `(${formatGiga((flops.forward + flops.backward) / seconds)} GFLOP/s), ${formatMegabytes(peak)} peak memory; the remaining ` +
    `${left} take about ${formatDuration(seconds * left)}, not counting validation and samples`
  )
}
