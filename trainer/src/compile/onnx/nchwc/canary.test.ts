import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomTensor } from '../../../../../test/support/cases.ts'
import { onnxruntimeVersion, runOnnx } from '../../../../../test/support/onnx.ts'
import { createGraph } from '../../../algebra/graph.ts'
import { type ModelOptions, toOnnx } from '../model.ts'
import { blockWidths, nchwcDomain } from './layout.ts'

/** Versions of onnxruntime-node with which the tests of this folder and the conformance suite passed. */
const verifiedVersions = ['1.30.0']

test('the blocked layout has been verified with the installed onnxruntime-node', () => {
  assert.ok(
    verifiedVersions.includes(onnxruntimeVersion),
    `The private blocked layout has not been verified with onnxruntime-node ${onnxruntimeVersion}, only with ` +
      `${verifiedVersions.join(', ')}. Run the tests in compile/onnx/nchwc and test/conformance.test.ts. If they ` +
      'pass, add the version to verifiedVersions. If not, fix nchwc/ or pin a verified version.',
  )
})

test('the blocked Conv of onnxruntime computes the same as the standard Conv', async (t) => {
  const expected = await convolve({ dialect: 'standard' })
  assert.ok(expected !== null, 'onnxruntime cannot run a standard Conv')
  const scale = Math.max(...expected.map(Math.abs))
  const errors: string[] = []
  for (const blockWidth of blockWidths) {
    const actual = await convolve({ dialect: 'onnxruntime', blockWidth })
    if (actual === null) continue
    const error = Math.max(...expected.map((value, i) => Math.abs(value - actual[i]!)))
    if (error <= 1e-5 * scale) return
    errors.push(`${blockWidth} channels per block: max error ${error} at a scale of ${scale}`)
  }
  if (errors.length === 0) return t.skip('onnxruntime has no blocked operators for this processor')
  assert.fail(
    `The operator ${nchwcDomain}.Conv of onnxruntime-node ${onnxruntimeVersion} differs from Conv at every block width. ` +
      `Its private layout has probably changed.\n${errors.join('\n')}`,
  )
})

/**
 * Runs a 3×3 convolution with bias.
 * @returns its result, or null if onnxruntime rejects the model
 */
async function convolve(options: ModelOptions): Promise<Float32Array | null> {
  const { ops, input } = createGraph()
  // For every block width, 32 channels are at least two blocks.
  const shapes = { x: [2, 32, 4, 6], weight: [32, 32, 3, 3], bias: [32] }
  const { x, weight, bias } = shapes
  const y = ops.conv2d(input('x', x), input('weight', weight), input('bias', bias), {
    stride: 1,
    padding: [1, 1, 1, 1],
  })
  const model = toOnnx({ y }, options)
  assert.equal(Buffer.from(model).includes(nchwcDomain), options.dialect === 'onnxruntime')
  const inputs = Object.entries(shapes).map(([name, shape], i) => [name, randomTensor(i + 1, shape)] as const)
  try {
    // Graph optimization is disabled, because it would replace the standard Conv by the blocked one.
    const outputs = await runOnnx(model, Object.fromEntries(inputs), {
      graphOptimizationLevel: 'disabled',
      logSeverityLevel: 4,
    })
    return outputs['y']!.data
  } catch {
    return null
  }
}
