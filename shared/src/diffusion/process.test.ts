import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { domains, normals } from '../random/random.ts'
import {
  epsilonWeights,
  lossWeight,
  type PredictionType,
  predictX0,
  qPosterior,
  qSample,
  qStep,
  targetWeights,
  x0Weights,
} from './process.ts'
import { createSchedule, paperSchedule } from './schedule.ts'

const linear = createSchedule(paperSchedule)
const cosine = createSchedule({ ...paperSchedule, betaSchedule: 'cosine' })

function close(found: number | undefined, wanted: number, relative = 5e-10): void {
  assert.ok(
    found !== undefined && Math.abs(found - wanted) <= relative * Math.abs(wanted),
    `${found}, not ${wanted}`,
  )
}

function noise(count: number, step: number): Float64Array {
  const values = new Float32Array(count)
  normals(5, { domain: domains.sampling, image: 0, step }, values)
  return Float64Array.from(values)
}

suite('schedules: published figures at T = 1000', () => {
  for (const [name, schedule, golden] of [
    [
      'linear',
      linear,
      [0.9999, 0.9997800921, 0.07779665837, 4.035829765e-5, 5.453187661e-5, 0.5452914995, 0.454708499],
    ],
    [
      'cosine',
      cosine,
      [0.9999587158, 0.9999125759, 0.4922851724, 2.428766907e-9, 2.178949615e-5, 0.5277814093, 0.4722185904],
    ],
    [
      // By diffusers' formula in PyTorch's float64.
      'sigmoid',
      createSchedule({ ...paperSchedule, betaSchedule: 'sigmoid' }),
      [0.9998507948, 0.9997010188, 0.2988876278, 3.968181991e-5, 7.475617673e-5, 0.5009919166, 0.4990080806],
    ],
  ] as const) {
    test(name, () => {
      const { alphasCumprod, posteriorVariance, posteriorMeanCoef1, posteriorMeanCoef2 } = schedule
      const found = [
        ...[0, 1, 500, 999].map((t) => alphasCumprod[t]),
        posteriorVariance[1],
        posteriorMeanCoef1[1],
        posteriorMeanCoef2[1],
      ]
      found.forEach((value, i) => {
        close(value, golden[i]!, 5e-9)
      })
      assert.equal(schedule.alphasCumprodPrev[0], 1)
      assert.equal(posteriorVariance[0], 0)
      assert.equal(schedule.posteriorLogVarianceClipped[0], Math.log(posteriorVariance[1]!))
    })
  }

  test('impossible ones are refused with what was found', () => {
    assert.throws(() => createSchedule({ ...paperSchedule, timesteps: 0 }), /Found 0 timesteps/)
    assert.throws(() => createSchedule({ ...paperSchedule, betaEnd: 1.5 }), /Found β = 1\.\d+ at timestep/)
  })
})

test('noising step by step (eq. 2) composes to the closed form (eq. 4): mean and variance', () => {
  const t = 400
  // A deterministic chain carries the mean; variances add up as 1 − ᾱ.
  let mean = Float64Array.of(1)
  let variance = 0
  const zero = new Float64Array(1)
  for (let s = 0; s <= t; s++) {
    mean = qStep(linear, mean, s, zero) as Float64Array<ArrayBuffer>
    variance = linear.alphas[s]! * variance + qStep(linear, zero, s, Float64Array.of(1))[0]! ** 2
  }
  close(mean[0], qSample(linear, Float64Array.of(1), t, zero)[0]!, 1e-12)
  close(variance, qSample(linear, zero, t, Float64Array.of(1))[0]! ** 2, 1e-12)
})

test('a sampled chain has the closed form’s distribution', () => {
  const count = 20_000
  const t = 99
  const x0 = new Float64Array(count).fill(0.7)
  let x: Float64Array = x0
  for (let s = 0; s <= t; s++) x = qStep(linear, x, s, noise(count, s))
  const mean = x.reduce((a, b) => a + b) / count
  const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / count
  const alphaBar = linear.alphasCumprod[t]!
  assert.ok(Math.abs(mean - Math.sqrt(alphaBar) * 0.7) < 4 * Math.sqrt((1 - alphaBar) / count))
  assert.ok(Math.abs(variance / (1 - alphaBar) - 1) < 4 * Math.sqrt(2 / count))
})

test('the paper’s eq. 11 mean is the posterior mean through the predicted x0', () => {
  const xt = noise(50, 0)
  const epsilon = noise(50, 1)
  for (const t of [0, 1, 250, 999]) {
    const { mean } = qPosterior(linear, predictX0(linear, 'epsilon', xt, t, epsilon), xt, t)
    const [alpha, beta, alphaBar] = [linear.alphas[t]!, linear.betas[t]!, linear.alphasCumprod[t]!]
    xt.forEach((x, i) => {
      const paper = (x - (beta / Math.sqrt(1 - alphaBar)) * epsilon[i]!) / Math.sqrt(alpha)
      assert.ok(Math.abs(mean[i]! - paper) < 1e-11 * Math.max(1, Math.abs(paper)))
    })
  }
})

test('q(x_{t−1}) = ∫ q(x_{t−1} | x_t, x_0) q(x_t | x_0): the posterior fits the forward process', () => {
  for (const t of [1, 300, 999]) {
    const unit = Float64Array.of(1)
    const zero = Float64Array.of(0)
    const alphaBar = linear.alphasCumprod[t]!
    const fromX0 = qPosterior(linear, unit, zero, t).mean[0]!
    const fromXt = qPosterior(linear, zero, unit, t).mean[0]!
    close(fromX0 + fromXt * Math.sqrt(alphaBar), Math.sqrt(linear.alphasCumprodPrev[t]!), 1e-12)
    close(
      fromXt ** 2 * (1 - alphaBar) + linear.posteriorVariance[t]!,
      1 - linear.alphasCumprodPrev[t]!,
      1e-12,
    )
  }
})

test('every kind of output leads back to the same x0 and noise', () => {
  const [x0, epsilon] = [0.3, -1.2]
  for (const alphaBar of [0.9999, 0.5, 4e-5]) {
    const xt = Math.sqrt(alphaBar) * x0 + Math.sqrt(1 - alphaBar) * epsilon
    for (const type of ['epsilon', 'x0', 'v'] satisfies PredictionType[]) {
      const [a, b] = targetWeights(type, alphaBar)
      const output = a * x0 + b * epsilon
      const [p, q] = x0Weights(type, alphaBar)
      const [r, s] = epsilonWeights(type, alphaBar)
      close(p * xt + q * output, x0, 1e-9)
      close(r * xt + s * output, epsilon, 1e-9)
    }
  }
})

test('min-SNR-5 weighs the same error on x0 alike, whatever is predicted', () => {
  // An error δ of x0 is one of δ·√SNR in ε and of δ·√(SNR + 1) in v.
  for (const alphaBar of [0.99, 0.5, 0.01]) {
    const snr = alphaBar / (1 - alphaBar)
    const onX0 = lossWeight('min-snr', 'x0', alphaBar)
    close(lossWeight('min-snr', 'epsilon', alphaBar) * snr, onX0, 1e-12)
    close(lossWeight('min-snr', 'v', alphaBar) * (snr + 1), onX0, 1e-12)
    close(onX0, Math.min(snr, 5), 1e-12)
  }
  assert.equal(lossWeight('uniform', 'epsilon', 0.3), 1)
})
