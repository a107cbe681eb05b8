import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import ort from 'onnxruntime-node'
import { type Case, cases, inputsOf } from '../../../test/support/cases.ts'
import { float64 } from '../../../test/support/float64.ts'
import { createGraph, evaluate } from '../graph.ts'
import type { Op } from '../ops.ts'
import type { Dialect } from './emitter.ts'
import { toOnnx } from './model.ts'

for (const dialect of ['standard', 'onnxruntime'] as const) {
  suite(`onnxruntime computes every primitive as float64 defines it: ${dialect} operators`, () => {
    for (const op of Object.keys(cases) as Op[]) {
      for (const [number, c] of cases[op].entries()) {
        test(`${op} ${number}`, () => check(dialect, op, c as Case<Op>))
      }
    }
  })
}

async function check<O extends Op>(dialect: Dialect, op: O, c: Case<O>): Promise<void> {
  const graph = createGraph()
  const inputs = c.shapes.map((shape, i) => graph.input(`input${i}`, shape))
  const output = graph.ops.apply(op, inputs, c.attributes)
  const values = inputsOf(c)
  const [expected] = evaluate([output], float64, new Map(values.map((value, i) => [`input${i}`, value])))

  const session = await ort.InferenceSession.create(toOnnx({ output }, { dialect }), { logSeverityLevel: 3 })
  const feeds = Object.fromEntries(
    values.map(({ shape, data }, i) => {
      // Indices are rounded: a timestep that arrives as 1.9999 is row 2.
      const jitter = c.fixed?.[i] ? 1e-4 : 0
      return [
        `input${i}`,
        new ort.Tensor(
          'float32',
          Float32Array.from(data, (value) => value - jitter),
          [...shape],
        ),
      ]
    }),
  )
  const found = (await session.run(feeds))['output']!
  await session.release()
  assert.deepEqual(found.dims, expected!.shape)
  for (const [i, value] of (found.data as Float32Array).entries()) {
    const wanted = expected!.data[i]!
    assert.ok(
      Math.abs(value - wanted) <= 2e-5 * Math.max(1, Math.abs(wanted)),
      `element ${i}: ${value}, not ${wanted}`,
    )
  }
}
