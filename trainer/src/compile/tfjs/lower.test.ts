import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type Case, cases, createInputs } from '../../../../test/support/cases.ts'
import { float64 } from '../../../../test/support/float64.ts'
import { openTfjs } from '../../../../test/support/tfjs.ts'
import { createGraph, evaluate } from '../../algebra/graph.ts'
import type { Op } from '../../algebra/ops.ts'
import { toTfjs } from './model.ts'

suite('every primitive in TensorFlow.js matches float64', () => {
  for (const op of Object.keys(cases) as Op[]) {
    for (const [number, c] of cases[op].entries()) {
      test(`${op} ${number}`, () => check(op, c as Case<Op>, false))
      // The result of a convolution is in channels-last layout, so the rule must permute the axes in the attributes.
      if (c.shapes[0]!.length === 4) {
        test(`${op} ${number}, after a convolution`, () => check(op, c as Case<Op>, true))
      }
    }
  }
})

async function check<O extends Op>(op: O, c: Case<O>, afterConvolution: boolean): Promise<void> {
  const { ops, input } = createGraph()
  const inputs = c.shapes.map((shape, i) => input(`input${i}`, shape))
  if (afterConvolution) {
    const channels = c.shapes[0]![1]!
    const identity = Float32Array.from({ length: channels ** 2 }, (_, i) =>
      i % (channels + 1) === 0 ? 1 : 0,
    )
    const same = ops.constant(identity, [channels, channels, 1, 1])
    inputs[0] = ops.conv2d(inputs[0]!, same, null, { stride: 1, padding: [0, 0, 0, 0] })
  }
  const output = ops.apply(op, inputs, c.attributes)
  const inputValues = createInputs(c)
  const [expected] = evaluate([output], float64, new Map(inputValues.map((value, i) => [`input${i}`, value])))

  const model = await openTfjs(toTfjs({ output }))
  const actual = model.run(
    Object.fromEntries(
      inputValues.map(({ shape, data }, i) => {
        // Indices must be rounded, not truncated: a timestep of 1.9999 must look up row 2.
        const jitter = c.fixed?.[i] ? 1e-4 : 0
        return [`input${i}`, { shape, values: Float32Array.from(data, (value) => value - jitter) }]
      }),
    ),
  )
  assert.deepEqual(actual.shape, expected!.shape)
  for (const [i, value] of actual.values.entries()) {
    const wanted = expected!.data[i]!
    assert.ok(
      Math.abs(value - wanted) <= 2e-5 * Math.max(1, Math.abs(wanted)),
      `element ${i}: expected ${wanted}, got ${value}`,
    )
  }
}
