import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSchedule, paperSchedule, qSample, toSchedulerConfig } from '@ddpm/shared'
import type { Manifest } from 'ddpm-sampler'
import { meanSquare, processOf, remainingSteps, stepBack } from './process.ts'

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

test('all steps lead from any timestep to the finished image, each with the posterior of its own interval', () => {
  const process = processOf(model)
  for (const t of [0, 7, 18, 300, 999]) {
    const steps = remainingSteps(process, t)
    assert.equal(steps.length, Math.min(50, t + 1), `t = ${t}`)
    assert.equal(steps.at(-1)!.target, -1)
    const [x0Weight, xtWeight, sigma] = [
      steps.at(-1)!.weights.x0,
      steps.at(-1)!.weights.xt,
      steps.at(-1)!.weights.sigma,
    ]
    assert.ok(Math.abs(x0Weight - 1) < 1e-9 && Math.abs(xtWeight) < 1e-9 && sigma < 1e-9, `t = ${t}`)
    // Without noise and with the true image as prediction, x_t stays on √ᾱ·x_0.
    let scale = Math.sqrt(process.alphaBar[t]!)
    for (const { weights, target } of steps) {
      scale = weights.x0 + weights.xt * scale
      assert.ok(Math.abs(scale - (target < 0 ? 1 : Math.sqrt(process.alphaBar[target]!))) < 1e-9)
    }
  }
  // From the last timestep of a short range, every timestep is visited, with the weights of the full chain.
  const short = remainingSteps(process, 7)
  assert.ok(Math.abs(short[0]!.weights.x0 - process.step[7]!.x0) < 1e-9)
})
