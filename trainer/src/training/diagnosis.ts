import { gradients } from '../algebra/grad.ts'
import { createGraph, type Graph, type Node } from '../algebra/graph.ts'
import { compile } from '../engines/onnxruntime.ts'
import { createParameterLayout, type ParameterLayout, unflatten } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import { denoisingLoss } from '../objective/denoising.ts'
import type { Batch, TrainingState } from '../step/engine.ts'
import { stateNames } from '../step/optimizer.ts'
import type { StepSpec } from '../step/spec.ts'
import { batchInputs } from '../step/training-graphs.ts'
import ort from '../support/onnxruntime-node.ts'

/**
 * Finds the first non-finite value of a failed training step. Runs the step again on the CPU and checks the result of every
 * operation that uses a parameter, and every gradient. This is slower than a training step, because another graph has to be
 * compiled.
 * @param state state before the step
 * @param batches micro-batches of the step
 * @returns a sentence for the error message
 */
export async function diagnose(
  spec: StepSpec,
  tables: ReadonlyMap<string, Float32Array>,
  state: TrainingState,
  batches: readonly Batch[],
): Promise<string> {
  const layout = createParameterLayout(parameterSpecs(spec.unet))
  const before = describeNonFinite(layout, state)
  if (before !== null) return `Before this step, ${before} were already not finite.`

  const graph = createGraph()
  const inputs = batchInputs(graph, spec)
  const loss = denoisingLoss(graph.ops, spec, ({ name, shape }) => graph.input(name, shape), inputs)
  const parameters = layout.entries.map(({ name, shape }) => graph.input(name, shape))
  const forward = usesOf(graph, new Map(parameters.map((node, i) => [node, layout.entries[i]!.name])))
  const backward = gradients(graph, loss, parameters)
    .map((node, i) => ({ node, name: layout.entries[i]!.name }))
    // Node ids follow the order of the backward pass.
    .sort((a, b) => a.node.id - b.node.id)
    // The gradient norm sums squares, so an overflow of the square counts even if the gradient itself is finite.
    .map(({ node, name }) => ({ node: graph.ops.mul(node, node), name }))
  const session = await compile({ loss, ...sums(graph, 'f', forward), ...sums(graph, 'b', backward) }, tables)
  const weights = [...unflatten(layout, state.parameters)].map(
    ([name, { shape, data }]) => [name, new ort.Tensor('float32', data, shape)] as const,
  )
  const feeds = (batch: Batch) =>
    (Object.entries(inputs) as [keyof Batch, Node | null][]).flatMap(([name, node]) =>
      node ? [[name, new ort.Tensor('float32', batch[name]!, node.shape as readonly number[])] as const] : [],
    )
  try {
    for (const batch of batches) {
      const results = await session.run(Object.fromEntries([...weights, ...feeds(batch)]))
      const finite = (key: string) => Number.isFinite(results[key]!.data[0] as number)
      const output = forward.find((_, i) => !finite(`f${i}`))
      if (output) return `The first non-finite value is in the forward pass, after ${output.name}.`
      if (!finite('loss')) return 'The first non-finite value is the loss.'
      const nonFinite = backward.filter((_, i) => !finite(`b${i}`))
      if (nonFinite.length > 0)
        return (
          `The first non-finite value is in the backward pass, in the gradient of ${nonFinite[0]!.name}; ` +
          `${nonFinite.length} of ${backward.length} gradients are affected.`
        )
    }
  } finally {
    await session.release()
  }
  return 'The same step on the CPU gives only finite values.'
}

interface NamedNode {
  readonly node: Node
  readonly name: string
}

/** Returns the operations that combine a parameter with other values, in the order of computation. */
function usesOf(graph: Graph, names: ReadonlyMap<Node, string>): NamedNode[] {
  /** Parameter names by node. A node that is computed only from one parameter and constants has that parameter's name. */
  const owner = new Map(names)
  const uses: NamedNode[] = []
  for (const node of graph.nodes) {
    if (node.kind !== 'op') continue
    const owners = node.inputs.map((input) => owner.get(input))
    const name = owners.find((one) => one !== undefined)
    if (name === undefined) continue
    if (node.inputs.every((input, i) => input.kind === 'constant' || owners[i] === name))
      owner.set(node, name)
    else uses.push({ node, name })
  }
  return uses
}

/**
 * Records the sum of each tensor. The sum is not finite if an element is not finite, or if it overflows float32.
 */
function sums({ ops }: Graph, prefix: string, tensors: readonly NamedNode[]): Record<string, Node> {
  return Object.fromEntries(
    tensors.map(({ node }, i) => [`${prefix}${i}`, ops.reduceSum(node, [...node.shape.keys()])]),
  )
}

const partNames = {
  parameters: 'the weights of',
  firstMoment: "Adam's first moments of",
  secondMoment: "Adam's second moments of",
  ema: 'the EMA weights of',
}

/** Describes the first part of the state that contains NaN or an infinity; returns null if all values are finite. */
export function describeNonFinite(layout: ParameterLayout, state: TrainingState): string | null {
  for (const part of stateNames) {
    const index = state[part].findIndex((value) => !Number.isFinite(value))
    if (index === -1) continue
    const { name } = layout.entries.findLast(({ offset }) => offset <= index)!
    return `${partNames[part]} ${name}`
  }
  return null
}
