import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSchedule, paperSchedule, qPosterior, qSample, writeScheduler } from '@ddpm/shared'
import type { Manifest } from 'ddpm-sampler'
import { meanSquare, noised, processOf, stepBack } from './process.ts'

const schedule = createSchedule(paperSchedule)
const model = {
  scheduler: writeScheduler(paperSchedule, 'epsilon'),
  sampling: { sampler: 'ddim', steps: 50, spacing: 'trailing', guidance: 1 },
} as Manifest

const x0 = Float32Array.of(-1, -0.25, 0.5, 1)
const noise = Float32Array.of(0.3, -1.2, 0.1, 2)

test('the process is read off the sampler’s table as the schedule has it', () => {
  const { timesteps, alphaBar, beta } = processOf(model)
  assert.equal(timesteps, 1000)
  // The golden figures of the linear schedule.
  assert.ok(Math.abs(alphaBar[500]! - 0.07779665837) < 1e-10)
  assert.ok(Math.abs(alphaBar[999]! - 4.035829765e-5) < 1e-13)
  for (const t of [0, 1, 500, 999]) assert.ok(Math.abs(beta[t]! - schedule.betas[t]!) < 1e-12, `β at ${t}`)
})

test('a picture is noised and brought a step back as DDPM equations 4 and 7 say', () => {
  const { alphaBar, step } = processOf(model)
  for (const t of [1, 300, 999]) {
    const xt = noised(x0, alphaBar[t]!, noise)
    assert.deepEqual(xt, qSample(schedule, x0, t, noise))
    const { mean, variance } = qPosterior(schedule, x0, xt, t)
    const expected = mean.map((value, i) => value + Math.sqrt(variance) * noise[i]!)
    const found = stepBack(step[t]!, { x0, xt, z: noise })
    assert.ok(meanSquare(found, expected) < 1e-12, `t = ${t}`)
  }
})

test('a foreseen picture is clamped, and the last step adds no noise', () => {
  const { step } = processOf(model)
  const far = Float32Array.of(-7, -0.25, 0.5, 3)
  assert.deepEqual(stepBack(step[0]!, { x0: far, xt: noise, z: noise }), x0)
})
