import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import * as tf from '@tensorflow/tfjs-core'
import { type Case, cases, createInputs, randomTensor } from '../../../test/support/cases.ts'
import { float64, type Tensor } from '../../../test/support/float64.ts'
import { gradients } from '../algebra/grad.ts'
import { createGraph, evaluate } from '../algebra/graph.ts'
import { createOps, type Op } from '../algebra/ops.ts'
import { sizeOf } from '../algebra/shape-rules.ts'
import { openBackend } from './tfjs-backend.ts'
import { tfjs } from './tfjs-ops.ts'

await tf.setBackend((await openBackend('cpu')).name)
const ops = createOps(tfjs)

/** Operations that occur only in the gradients of grad.ts, so TensorFlow.js never differentiates them. */
const notDifferentiated = new Set<Op>(['conv2dWeightGrad', 'within'])

suite('TensorFlow.js: every primitive matches the float64 interpreter, and its gradient matches grad.ts', () => {
  for (const op of Object.keys(cases) as Op[]) {
    for (const [number, c] of cases[op].entries()) test(`${op} ${number}`, () => check(op, c as Case<Op>))
  }
})

function check<O extends Op>(op: O, c: Case<O>): void {
  const graph = createGraph()
  const inputs = c.shapes.map((shape, i) => graph.input(`input${i}`, shape))
  const output = graph.ops.apply(op, inputs, c.attributes)
  const values = createInputs(c)
  const feeds = new Map(values.map((value, i) => [`input${i}`, value]))
  const [expected] = evaluate([output], float64, feeds)
  const tensors = values.map(({ shape, data }) => tfjs.constant(data, shape))
  const actual = tfjs.apply(op, tensors, c.attributes)
  assert.deepEqual(actual.shape, expected!.shape)
  assertClose(actual, expected!, 'result')
  if (c.fixed?.[0] || notDifferentiated.has(op)) return

  // The loss is Σ y·w for random weights w.
  const weights = randomTensor(99, expected!.shape)
  const product = graph.ops.mul(output, graph.ops.constant(weights.data, weights.shape))
  const axes = weights.shape.map((_, axis) => axis)
  const loss = graph.ops.reshape(graph.ops.reduceSum(product, axes), [1])
  const free = inputs.filter((_, i) => !c.fixed?.[i])
  const expectedGradients =
    op === 'stopGradient' ? [] : evaluate(gradients(graph, loss, free), float64, feeds)
  const differentiated = tf.grads((...free: tf.Tensor[]) => {
    const all = tensors.map((tensor, i) => (c.fixed?.[i] ? tensor : free.shift()!))
    return ops.reduceSum(
      ops.mul(tfjs.apply(op, all, c.attributes), tfjs.constant(weights.data, weights.shape)),
      axes,
    )
  })(tensors.filter((_, i) => !c.fixed?.[i]))
  for (const [i, gradient] of differentiated.entries()) {
    assertClose(
      gradient,
      expectedGradients[i] ?? { shape: gradient.shape, data: new Float64Array(sizeOf(gradient.shape)) },
      `gradient ${i}`,
    )
  }
}

function assertClose(actual: tf.Tensor, { data }: Tensor, what: string): void {
  for (const [i, value] of actual.dataSync().entries()) {
    const expected = data[i]!
    const bound = 2e-5 * Math.max(1, Math.abs(expected))
    assert.ok(
      Math.abs(value - expected) <= bound,
      `${what}, element ${i}: expected ${expected}, got ${value}`,
    )
  }
}
