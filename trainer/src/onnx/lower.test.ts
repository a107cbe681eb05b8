import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import ort from 'onnxruntime-node'
import { type Case, cases, inputsOf } from '../../../test/support/cases.ts'
import { float64 } from '../../../test/support/float64.ts'
import { findBlockWidth } from '../engines/blocks.ts'
import { createGraph, evaluate } from '../graph.ts'
import type { Convolution, Op } from '../ops.ts'
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

/** Convolutions wide enough for blocks; of many pictures, weight gradients are summed over groups. */
function wideCases(width: number): { [O in 'conv2d' | 'conv2dInputGrad' | 'conv2dWeightGrad']: Case<O>[] } {
  const [inputs, outputs] = [width, 2 * width]
  const same: Convolution = { stride: 1, padding: [1, 1, 1, 1] }
  const half: Convolution = { stride: 2, padding: [1, 1, 1, 1] }
  const weight = [outputs, inputs, 3, 3]
  const x = [2, inputs, 4, 5]
  const dy = [2, outputs, 4, 5]
  return {
    conv2d: [
      { shapes: [x, weight, [outputs]], attributes: same },
      { shapes: [x, weight, [outputs]], attributes: half },
      { shapes: [x, [outputs, inputs, 5, 5]], attributes: { stride: 1, padding: [2, 2, 2, 2] } },
    ],
    conv2dInputGrad: [
      { shapes: [dy, weight], attributes: { ...same, inputShape: x } },
      {
        shapes: [[2, outputs, 6, 6], weight],
        attributes: { stride: 1, padding: [1, 1, 2, 0], inputShape: [2, inputs, 5, 7] },
      },
    ],
    conv2dWeightGrad: [
      { shapes: [x, dy], attributes: { ...same, kernel: 3 } },
      {
        shapes: [
          [2 * width, 3, 2, 3],
          [2 * width, width, 2, 3],
        ],
        attributes: { ...same, kernel: 3 },
      },
    ],
  }
}

const width = await findBlockWidth()
const skip = width === null && 'onnxruntime has no blocked layout on this processor'
suite('onnxruntime computes convolutions in its blocked layout as float64 defines them', { skip }, () => {
  for (const [op, list] of Object.entries(wideCases(width ?? 1))) {
    for (const [number, c] of list.entries()) {
      test(`${op} ${number}`, () => check('onnxruntime', op as Op, c as Case<Op>, width))
    }
  }
})

async function check<O extends Op>(
  dialect: Dialect,
  op: O,
  c: Case<O>,
  blockWidth: number | null = null,
): Promise<void> {
  const graph = createGraph()
  const inputs = c.shapes.map((shape, i) => graph.input(`input${i}`, shape))
  const output = graph.ops.apply(op, inputs, c.attributes)
  const values = inputsOf(c)
  const [expected] = evaluate([output], float64, new Map(values.map((value, i) => [`input${i}`, value])))

  const session = await ort.InferenceSession.create(toOnnx({ output }, { dialect, blockWidth }), {
    logSeverityLevel: 3,
  })
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
