import assert from 'node:assert/strict'
import type { InferenceSession } from 'onnxruntime-node'
import { createGraph, evaluate } from '../../trainer/src/algebra/graph.ts'
import type { Op } from '../../trainer/src/algebra/ops.ts'
import { type ModelOptions, toOnnx } from '../../trainer/src/compile/onnx/model.ts'
import ort from '../../trainer/src/support/onnxruntime-node.ts'
import { type Case, createInputs } from './cases.ts'
import { float64, type Tensor } from './float64.ts'

/** Version of the installed onnxruntime-node. */
export const onnxruntimeVersion = ort.env.versions.node!

/** An output of an ONNX model. */
export interface OnnxOutput {
  readonly shape: readonly number[]
  readonly data: Float32Array
}

/** Runs an ONNX model with onnxruntime-node. The inputs are converted to float32. */
export async function runOnnx(
  model: Uint8Array,
  inputs: Readonly<Record<string, Tensor>>,
  options: InferenceSession.SessionOptions = {},
): Promise<Record<string, OnnxOutput>> {
  const session = await ort.InferenceSession.create(model, options)
  const feeds = Object.entries(inputs).map(
    ([name, { shape, data }]) =>
      [name, new ort.Tensor('float32', Float32Array.from(data), [...shape])] as const,
  )
  const outputs = await session.run(Object.fromEntries(feeds))
  await session.release()
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { dims, data }]) => [
      name,
      { shape: dims, data: data as Float32Array },
    ]),
  )
}

/** Asserts that onnxruntime and the float64 interpreter give the same result for a case. */
export async function checkOnnx<O extends Op>(op: O, c: Case<O>, options: ModelOptions): Promise<void> {
  const graph = createGraph()
  const nodes = c.shapes.map((shape, i) => graph.input(`input${i}`, shape))
  const output = graph.ops.apply(op, nodes, c.attributes)
  const values = createInputs(c)
  const [expected] = evaluate([output], float64, new Map(values.map((value, i) => [`input${i}`, value])))

  // Indices must be rounded: the index 1.9999 selects row 2.
  const inputs = values.map(({ shape, data }, i) => {
    const jitter = c.fixed?.[i] ? 1e-4 : 0
    return [`input${i}`, { shape, data: data.map((value) => value - jitter) }] as const
  })
  const outputs = await runOnnx(toOnnx({ output }, options), Object.fromEntries(inputs), {
    logSeverityLevel: 3,
  })
  const actual = outputs['output']!
  assert.deepEqual(actual.shape, expected!.shape)
  for (const [i, value] of actual.data.entries()) {
    const expectedValue = expected!.data[i]!
    assert.ok(
      Math.abs(value - expectedValue) <= 2e-5 * Math.max(1, Math.abs(expectedValue)),
      `element ${i}: expected ${expectedValue}, got ${value}`,
    )
  }
}
