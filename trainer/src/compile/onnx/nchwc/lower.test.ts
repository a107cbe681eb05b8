import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type Case, randomTensor } from '../../../../../test/support/cases.ts'
import { float64 } from '../../../../../test/support/float64.ts'
import { checkOnnx, runOnnx } from '../../../../../test/support/onnx.ts'
import { gradients } from '../../../algebra/grad.ts'
import { createGraph, evaluate, type Node } from '../../../algebra/graph.ts'
import type { Convolution, Op } from '../../../algebra/ops.ts'
import { detectBlockWidth } from '../../../engines/block-width.ts'
import { toOnnx } from '../model.ts'
import { nchwcDomain } from './layout.ts'

/**
 * Returns convolutions with whole blocks of channels. The batch of the second weight gradient is so large that it is convolved
 * in groups.
 */
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

const width = await detectBlockWidth()
const skip = width === null && 'onnxruntime has no blocked operators for this processor'
suite('every blocked convolution in onnxruntime matches float64', { skip }, () => {
  for (const [op, list] of Object.entries(wideCases(width ?? 1))) {
    for (const [number, c] of list.entries()) {
      test(`${op} ${number}`, () =>
        checkOnnx(op as Op, c as Case<Op>, { dialect: 'onnxruntime', blockWidth: width }))
    }
  }
})

test('a blocked residual network and its gradients match float64', { skip }, async () => {
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
  const values = Object.entries(shapes).map(([name, shape], i) => ({
    name,
    value: randomTensor(i + 1, shape),
  }))
  const [x, first, bias, shift, second, up, upBias, reduce, third, last] = values.map(({ name, value }) =>
    graph.input(name, value.shape),
  ) as [Node, Node, Node, Node, Node, Node, Node, Node, Node, Node]
  const same: Convolution = { stride: 1, padding: [1, 1, 1, 1] }
  const pointwise: Convolution = { stride: 1, padding: [0, 0, 0, 0] }
  // The graph contains every combination of operations that occurs in the U-Net.
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

  const named = Object.fromEntries(nodes.map((node, i) => [`output${i}`, node]))
  const bytes = toOnnx(named, { dialect: 'onnxruntime', blockWidth: width })
  assert.ok(Buffer.from(bytes).includes(nchwcDomain))
  const actual = await runOnnx(bytes, Object.fromEntries(values.map(({ name, value }) => [name, value])), {
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 3,
  })
  for (const [i, { data }] of expected.entries()) {
    const outputs = actual[`output${i}`]!.data
    const scale = Math.max(...data.map(Math.abs))
    const error = Math.max(...data.map((wanted, j) => Math.abs(outputs[j]! - wanted)))
    assert.ok(error <= 2e-5 * scale, `output ${i}: max error ${error} at a scale of ${scale}`)
  }
})
