import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultUNet } from './config.ts'
import { createParameterLayout, initialize, unflatten } from './parameters.ts'
import { parameterSpecs } from './unet.ts'

const layout = createParameterLayout(parameterSpecs({ ...defaultUNet, zeroInit: true }))
const rms = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length)

test('fanAverage initializes weights with standard deviation 1/√n, as the published default_init, and biases with zero', () => {
  const parameters = unflatten(layout, initialize(layout, 0, 'fanAverage'))
  // n = (fanIn + fanOut)/2: 9·64 for a 3×3 convolution of 64 channels, (64 + 256)/2 for its dense layer.
  const deviations = [
    ['encoder_blocks.0.conv_1.weight', 9 * 64],
    ['time_embeddings.time_blocks.1.weight', (64 + 256) / 2],
    ['time_embeddings.time_blocks.3.weight', 256],
  ] as const
  for (const [name, n] of deviations) {
    const { data } = parameters.get(name)!
    assert.ok(Math.abs(rms(data) * Math.sqrt(n) - 1) < 0.02, `${name}: ${rms(data)}`)
  }
  for (const [name, { shape, data }] of parameters) {
    if (name.endsWith('in_proj_weight')) {
      assert.ok(Math.abs(rms(data) * Math.sqrt(shape[1]!) - 1) < 0.02, `${name}: ${rms(data)}`)
    }
    if (name.endsWith('bias'))
      assert.ok(
        data.every((value) => value === 0),
        name,
      )
    if (/conv_2\.weight|out_proj\.weight/.test(name))
      assert.ok(
        data.every((value) => value === 0),
        name,
      )
  }
})
