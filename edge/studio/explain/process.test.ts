import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSchedule, paperSchedule, qSample, toSchedulerConfig } from '@ddpm/shared'
import type { Manifest } from 'ddpm-sampler'
import { meanSquare, processOf, stepBack } from './process.ts'

const schedule = createSchedule(paperSchedule)
const model = {
  scheduler: toSchedulerConfig(paperSchedule, 'epsilon'),
  sampling: { sampler: 'ddim', steps: 50, spacing: 'trailing', guidance: 1 },
} as Manifest

const x0 = Float32Array.of(-1, -0.25, 0.5, 1)
const noise = Float32Array.of(0.3, -1.2, 0.1, 2)

test('the coefficients from the sampler’s rows equal those of the schedule', () => {
  const { timesteps, alphaBar, beta } = processOf(model)
  assert.equal(timesteps, 1000)
  // Published values of the linear schedule.
  assert.ok(Math.abs(alphaBar[500]! - 0.07779665837) < 1e-10)
  assert.ok(Math.abs(alphaBar[999]! - 4.035829765e-5) < 1e-13)
  for (const t of [0, 1, 500, 999]) assert.ok(Math.abs(beta[t]! - schedule.betas[t]!) < 1e-12, `β at ${t}`)
})

test('a noised image and a reverse step follow DDPM equations 4 and 7', () => {
  const { alphaBar, step } = processOf(model)
  for (const t of [1, 300, 999]) {
    const xt = qSample(alphaBar[t]!, x0, noise)
    assert.deepEqual(xt, qSample(schedule.alphasCumprod[t]!, x0, noise))
    const [a, b] = [schedule.posteriorMeanCoef1[t]!, schedule.posteriorMeanCoef2[t]!]
    const sigma = Math.sqrt(schedule.posteriorVariance[t]!)
    const expected = xt.map((value, i) => a * x0[i]! + b * value + sigma * noise[i]!)
    const actual = stepBack(step[t]!, { x0, xt, z: noise })
    assert.ok(meanSquare(actual, expected) < 1e-12, `t = ${t}`)
  }
})

test('the predicted x̂₀ is clamped, and the last step adds no noise', () => {
  const { step } = processOf(model)
  const outside = Float32Array.of(-7, -0.25, 0.5, 3)
  assert.deepEqual(stepBack(step[0]!, { x0: outside, xt: noise, z: noise }), x0)
})
