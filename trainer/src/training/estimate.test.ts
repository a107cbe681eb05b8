import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultUNet } from '../network/config.ts'
import type { StepSpec } from '../step/spec.ts'
import { describeForecast, type StepCost, stepCost } from './estimate.ts'

/** The published CIFAR-10 network. */
const cifar10: StepSpec = {
  unet: {
    ...defaultUNet,
    baseChannels: 128,
    channelMultiples: [1, 2, 2, 2],
    attention: [false, true, false, false],
  },
  batch: 1,
  height: 32,
  width: 32,
  adam: { beta1: 0.9, beta2: 0.999, eps: 1e-8 },
  clipNorm: 1,
}

test('the CIFAR-10 network has the published cost: 35.7 M parameters, 6.1 G multiply-adds', () => {
  // Fang, Ma & Wang 2023 (Structural Pruning for Diffusion Models), table 1. Their counter omits the two matrix
  // products of attention, pixels² · channels each: 5 blocks at 16×16 and one at 4×4.
  const { parameters, flops } = stepCost(cifar10)
  assert.equal(parameters, 35_746_307)
  const attention = 2 * 256 * (5 * 256 ** 2 + 16 ** 2)
  assert.equal(((flops.forward / 2 - attention) / 1e9).toFixed(1), '6.1')
  // The derivative of a product is two products of the same size. The first layers have only one, because their inputs need
  // no gradient.
  const first = 2 * 128 * 3 * 9 * 32 * 32
  const embedding = 2 * 128 * 512
  assert.equal(flops.backward, 2 * flops.forward - first - embedding)
})

test('operations and memory grow with the batch; memory includes the state and the gradients', () => {
  const [one, ...large] = [1, 64, 128, 192].map((batch) => stepCost({ ...cifar10, batch })) as [
    StepCost,
    ...StepCost[],
  ]
  const [a, b, c] = large as [StepCost, StepCost, StepCost]
  assert.equal(a.flops.forward, 64 * one.flops.forward)
  assert.equal(a.flops.backward, 64 * one.flops.backward)
  assert.ok(one.bytes >= 5 * 4 * one.parameters, `${one.bytes}`)
  assert.ok(b.bytes > a.bytes)
  assert.equal(c.bytes - b.bytes, b.bytes - a.bytes)
})

test('micro-batches need the same operations and less memory', () => {
  const whole = stepCost({ ...cifar10, batch: 128 })
  const split = stepCost({ ...cifar10, batch: 32, accumulate: 4 })
  assert.deepEqual(split.flops, whole.flops)
  // Requirement: batch 128 of this network fits into 8 GB.
  assert.ok(split.bytes < 8e9 && split.bytes < whole.bytes, `${split.bytes}, ${whole.bytes}`)
})

test('the forecast uses the median duration of the steps, not the first', () => {
  const cost = { parameters: 1, flops: { forward: 20e9, backward: 40e9 }, bytes: 1 }
  const text = describeForecast(cost, [3000, 200, 210, 190, 205], 600, 512e6)
  assert.equal(
    text,
    '5 steps measured: 205 ms each (293 GFLOP/s), 512 MB peak memory; the remaining 600 take about 2:03, not ' +
      'counting validation and samples',
  )
})
