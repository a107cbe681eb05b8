import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type Case, cases, createInputs, randomTensor } from '../../../test/support/cases.ts'
import { float64, type Tensor, tensor } from '../../../test/support/float64.ts'
import { gradients } from './grad.ts'
import { createGraph, evaluate, type Node } from './graph.ts'
import type { Op } from './ops.ts'

suite('every vector-Jacobian product matches central differences in float64', () => {
  for (const op of Object.keys(cases) as Op[]) {
    for (const [number, c] of cases[op].entries()) {
      test(`${op} ${number}`, () => checkCase(op, c as Case<Op>))
    }
  }
})

function checkCase<O extends Op>(op: O, c: Case<O>): void {
  const { shapes, attributes, fixed = {}, flat } = c
  const graph = createGraph()
  const { ops } = graph
  const inputs = shapes.map((shape, i) => graph.input(`input${i}`, shape))
  // The loss is a randomly weighted sum of the output, so that every element has a different gradient.
  const output = ops.apply(op, inputs, attributes)
  const weights = randomTensor(99, output.shape as number[])
  const weighted = ops.mul(output, graph.input('weights', weights.shape))
  const loss = ops.reduceSum(
    weighted,
    output.shape.map((_, axis) => axis),
  )

  const values = createInputs(c)
  const run = (nodes: readonly Node[], inputValues: readonly Tensor[]) =>
    evaluate(
      nodes,
      float64,
      new Map([...inputValues.map((value, i) => [`input${i}`, value] as const), ['weights', weights]]),
    )

  const differentiable = inputs.filter((_, i) => !fixed[i])
  if (flat) {
    if (differentiable.length > 0)
      assert.throws(() => gradients(graph, loss, differentiable), /does not depend/)
    return
  }
  const analytic = run(gradients(graph, loss, differentiable), values)

  const step = 1e-5
  for (const [k, node] of differentiable.entries()) {
    const i = inputs.indexOf(node)
    for (let element = 0; element < values[i]!.data.length; element++) {
      const lossAt = (offset: number) => {
        const data = values[i]!.data.slice()
        data[element]! += offset
        return run([loss], values.with(i, tensor(shapes[i]!, data)))[0]!.data[0]!
      }
      const numeric = (lossAt(step) - lossAt(-step)) / (2 * step)
      const actual = analytic[k]!.data[element]!
      assert.ok(
        Math.abs(actual - numeric) <= 1e-6 * Math.max(1, Math.abs(numeric)),
        `input ${i}, element ${element}: expected ${numeric} (difference quotient), got ${actual}`,
      )
    }
  }
}
