import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import ort from 'onnxruntime-node'
import { type Case, cases, inputsOf, random } from '../../../../test/support/cases.ts'
import { float64 } from '../../../../test/support/float64.ts'
import { gradients } from '../../algebra/grad.ts'
import { createGraph, evaluate, type Node } from '../../algebra/graph.ts'
import type { Convolution, Op } from '../../algebra/ops.ts'
import { findBlockWidth } from '../../engines/block-width.ts'
import type { Dialect } from './emit/emitter.ts'
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

test('what falls into blocks is computed in them, and its gradients, as float64 defines it', {
  skip,
}, async () => {
  const [narrow, wide] = [width!, 2 * width!]
  const graph = createGraph()
  const { ops } = graph
  const shapes = {
    x: [2, 1, 4, 6],
    first: [wide, 1, 3, 3],
    bias: [wide],
    shift: [2, wide, 1, 1],
    second: [narrow, wide, 3, 3],
    up: [narrow, narrow, 3, 3],
    upBias: [narrow],
    reduce: [narrow, wide + narrow, 3, 3],
    third: [wide, wide + narrow, 1, 1],
    last: [1, wide, 3, 3],
  } as const
  const values = Object.entries(shapes).map(([name, shape], i) => ({ name, value: random(i + 1, shape) }))
  const [x, first, bias, shift, second, up, upBias, reduce, third, last] = values.map(({ name, value }) =>
    graph.input(name, value.shape),
  ) as [Node, Node, Node, Node, Node, Node, Node, Node, Node, Node]
  const same: Convolution = { stride: 1, padding: [1, 1, 1, 1] }
  const pointwise: Convolution = { stride: 1, padding: [0, 0, 0, 0] }
  // A residual block with everything that the network does to a picture.
  const h = ops.conv2d(x, first, bias, same)
  const normalized = ops.groupNorm(ops.add(h, shift), bias, bias, { groups: 4, eps: 1e-5 })
  const masked = ops.mul(ops.silu(normalized), ops.sigmoid(shift))
  const half = ops.conv2d(masked, second, null, { ...same, stride: 2 })
  const doubled = ops.conv2d(ops.upsample2x(half), up, upBias, same)
  const joined = ops.concat([h, ops.add(doubled, ops.upsample2x(half))], 1)
  const narrowed = ops.upsample2x(ops.sumPool2x(ops.conv2d(joined, reduce, null, same)))
  const widened = ops.concat([narrowed, narrowed], 1)
  const sum = ops.add(ops.add(ops.conv2d(joined, third, bias, pointwise), widened), ops.add(h, masked))
  const output = ops.conv2d(
    ops.sub(sum, ops.slice(joined, { axis: 1, start: narrow, end: 3 * narrow })),
    last,
    null,
    same,
  )
  const loss = ops.reshape(ops.reduceSum(ops.mul(output, output), [0, 1, 2, 3]), [1])
  const parameters = [first, bias, shift, second, up, upBias, reduce, third, last]
  const nodes = [output, ...gradients(graph, loss, parameters)]
  const expected = evaluate(nodes, float64, new Map(values.map(({ name, value }) => [name, value])))

  const outputs = Object.fromEntries(nodes.map((node, i) => [`output${i}`, node]))
  const bytes = toOnnx(outputs, { dialect: 'onnxruntime', blockWidth: width })
  assert.ok(Buffer.from(bytes).includes('com.microsoft.nchwc'))
  const session = await ort.InferenceSession.create(bytes, { graphOptimizationLevel: 'disabled' })
  const feeds = values.map(
    ({ name, value: { shape, data } }) =>
      [name, new ort.Tensor('float32', Float32Array.from(data), [...shape])] as const,
  )
  const found = await session.run(Object.fromEntries(feeds))
  await session.release()
  for (const [i, { data }] of expected.entries()) {
    const values = found[`output${i}`]!.data as Float32Array
    const size = Math.max(...data.map(Math.abs))
    const furthest = Math.max(...data.map((wanted, j) => Math.abs(values[j]! - wanted)))
    assert.ok(furthest <= 2e-5 * size, `output ${i}: ${furthest} beside ${size}`)
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
