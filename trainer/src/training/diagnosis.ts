import ort from 'onnxruntime-node'
import { gradients } from '../algebra/grad.ts'
import { createGraph, type Graph, type Node } from '../algebra/graph.ts'
import { compile } from '../engines/onnxruntime.ts'
import { type Layout, layoutOf, unflatten } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import type { Batch, TrainingState } from '../step/engine.ts'
import { batchInputs, denoisingLoss, type StepSpec, stateNames } from '../step/step.ts'

/**
 * Where numbers of a training step stop being finite: computes it again, on the CPU, and looks behind every parameter.
 * Slow; for steps that went wrong.
 * @param state before the step
 * @param batches what the step was fed
 * @returns a sentence
 */
export async function diagnose(
  spec: StepSpec,
  tables: ReadonlyMap<string, Float32Array>,
  state: TrainingState,
  batches: readonly Batch[],
): Promise<string> {
  const layout = layoutOf(parameterSpecs(spec.unet))
  const before = notFiniteIn(layout, state)
  if (before !== null) return `Before it, ${before} were not finite.`

  const graph = createGraph()
  const fed = batchInputs(graph, spec)
  const loss = denoisingLoss(graph.ops, spec, ({ name, shape }) => graph.input(name, shape), fed)
  const parameters = layout.entries.map(({ name, shape }) => graph.input(name, shape))
  const forward = usesOf(graph, new Map(parameters.map((node, i) => [node, layout.entries[i]!.name])))
  const backward = gradients(graph, loss, parameters)
    .map((node, i) => ({ node, name: layout.entries[i]!.name }))
    // The backward pass makes them in the order of creation.
    .sort((a, b) => a.node.id - b.node.id)
    // The norm sees squares: those that are beyond float32 are a find, though the gradient is not.
    .map(({ node, name }) => ({ node: graph.ops.mul(node, node), name }))
  const session = await compile({ loss, ...sums(graph, 'f', forward), ...sums(graph, 'b', backward) }, tables)
  const weights = [...unflatten(layout, state.parameters)].map(
    ([name, { shape, data }]) => [name, new ort.Tensor('float32', data, shape)] as const,
  )
  const feeds = (batch: Batch) =>
    (Object.entries(fed) as [keyof Batch, Node | null][]).flatMap(([name, node]) =>
      node ? [[name, new ort.Tensor('float32', batch[name]!, node.shape as readonly number[])] as const] : [],
    )
  try {
    for (const batch of batches) {
      const results = await session.run(Object.fromEntries([...weights, ...feeds(batch)]))
      const fine = (key: string) => Number.isFinite(results[key]!.data[0] as number)
      const output = forward.find((_, i) => !fine(`f${i}`))
      if (output) return `It shows first in the forward pass, behind ${output.name}.`
      if (!fine('loss')) return 'It shows first in the loss itself.'
      const spoiled = backward.filter((_, i) => !fine(`b${i}`))
      if (spoiled.length > 0)
        return (
          `It shows first in the backward pass, in the gradient of ${spoiled[0]!.name}, ` +
          `and is in ${spoiled.length} of ${backward.length} gradients.`
        )
    }
  } finally {
    await session.release()
  }
  return 'It does not show when the step is computed again on the CPU.'
}

interface Named {
  readonly node: Node
  readonly name: string
}

/** The operations that bring a parameter and something else together, in the order of computation. */
function usesOf(graph: Graph, names: ReadonlyMap<Node, string>): Named[] {
  /** Nodes that are a parameter in another shape. */
  const owner = new Map(names)
  const uses: Named[] = []
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

/** A tensor's sum is finite only where the tensor is, but for sums beyond float32, which are as much of a find. */
function sums({ ops }: Graph, prefix: string, found: readonly Named[]): Record<string, Node> {
  return Object.fromEntries(
    found.map(({ node }, i) => [`${prefix}${i}`, ops.reduceSum(node, [...node.shape.keys()])]),
  )
}

const partNames = {
  parameters: 'the weights of',
  firstMoment: "Adam's first moments of",
  secondMoment: "Adam's second moments of",
  ema: 'the averaged weights of',
}

/** The first part of a state that holds NaN or an infinity, in words; null where all is finite. */
export function notFiniteIn(layout: Layout, state: TrainingState): string | null {
  for (const part of stateNames) {
    const at = state[part].findIndex((value) => !Number.isFinite(value))
    if (at === -1) continue
    const { name } = layout.entries.findLast(({ offset }) => offset <= at)!
    return `${partNames[part]} ${name}`
  }
  return null
}
