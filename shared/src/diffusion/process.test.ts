import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { domains, fillNormals } from '../random/random.ts'
import {
  convertOutput,
  epsilonWeights,
  lossWeight,
  predictionTypes,
  qPosterior,
  qSample,
  targetWeights,
  weightedSum,
  x0Weights,
} from './process.ts'
import { createSchedule, paperSchedule } from './schedule.ts'

const linear = createSchedule(paperSchedule)
const cosine = createSchedule({ ...paperSchedule, betaSchedule: 'cosine' })

function assertClose(actual: number | undefined, expected: number, relative = 5e-10): void {
  assert.ok(
    actual !== undefined && Math.abs(actual - expected) <= relative * Math.abs(expected),
    `${actual}, expected ${expected}`,
  )
}

function noise(count: number, step: number): Float64Array {
  const values = new Float32Array(count)
  fillNormals(5, { domain: domains.sampling, image: 0, step }, values)
  return Float64Array.from(values)
}

/** Samples one noising step q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t I), DDPM eq. 2, with the given noise. */
function qStep(previous: Float64Array, t: number, noise: Float64Array): Float64Array {
  const weights = [Math.sqrt(linear.alphas[t]!), Math.sqrt(linear.betas[t]!)] as const
  return weightedSum(weights, previous, noise, new Float64Array(previous.length))
}

/** Returns the posterior at timestep t of the linear schedule. */
function posteriorAt(t: number) {
  return qPosterior({
    alpha: linear.alphas[t]!,
    beta: linear.betas[t]!,
    alphaBar: linear.alphasCumprod[t]!,
    alphaBarPrev: linear.alphasCumprodPrev[t]!,
  })
}

suite('schedules have the published values at T = 1000', () => {
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
      // Computed with diffusers' formula in PyTorch, float64.
      'sigmoid',
      createSchedule({ ...paperSchedule, betaSchedule: 'sigmoid' }),
      [0.9998507948, 0.9997010188, 0.2988876278, 3.968181991e-5, 7.475617673e-5, 0.5009919166, 0.4990080806],
    ],
  ] as const) {
    test(name, () => {
      const { alphasCumprod, posteriorVariance, posteriorMeanCoef1, posteriorMeanCoef2 } = schedule
      const actual = [
        ...[0, 1, 500, 999].map((t) => alphasCumprod[t]),
        posteriorVariance[1],
        posteriorMeanCoef1[1],
        posteriorMeanCoef2[1],
      ]
      actual.forEach((value, i) => {
        assertClose(value, golden[i]!, 5e-9)
      })
      assert.equal(schedule.alphasCumprodPrev[0], 1)
      assert.equal(posteriorVariance[0], 0)
      assert.equal(schedule.posteriorLogVarianceClipped[0], Math.log(posteriorVariance[1]!))
    })
  }

  test('invalid parameters are rejected', () => {
    const rejects = (change: object, message: RegExp) =>
      assert.throws(() => createSchedule({ ...paperSchedule, ...change }), { name: 'UserError', message })
    rejects({ timesteps: 0 }, /Invalid timesteps: .* got 0/)
    rejects({ timesteps: 1, zeroTerminalSnr: true }, /Invalid timesteps: expected at least 2/)
    rejects({ betaEnd: 1.5 }, /Invalid β at timestep \d+: .* got 1\.\d+/)
  })
})

test('noising steps (eq. 2) compose to the closed form (eq. 4) in mean and variance', () => {
  const t = 400
  // Without noise, the chain only scales the mean. The variance of the steps accumulates to 1 − ᾱ.
  let mean: Float64Array = Float64Array.of(1)
  let variance = 0
  const zero = new Float64Array(1)
  for (let s = 0; s <= t; s++) {
    mean = qStep(mean, s, zero)
    variance = linear.alphas[s]! * variance + qStep(zero, s, Float64Array.of(1))[0]! ** 2
  }
  assertClose(mean[0], qSample(linear.alphasCumprod[t]!, Float64Array.of(1), zero)[0]!, 1e-12)
  assertClose(variance, qSample(linear.alphasCumprod[t]!, zero, Float64Array.of(1))[0]! ** 2, 1e-12)
})

test('a sampled chain has the distribution of the closed form', () => {
  const count = 20_000
  const t = 99
  const x0 = new Float64Array(count).fill(0.7)
  let x: Float64Array = x0
  for (let s = 0; s <= t; s++) x = qStep(x, s, noise(count, s))
  const mean = x.reduce((a, b) => a + b) / count
  const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / count
  const alphaBar = linear.alphasCumprod[t]!
  assert.ok(Math.abs(mean - Math.sqrt(alphaBar) * 0.7) < 4 * Math.sqrt((1 - alphaBar) / count))
  assert.ok(Math.abs(variance / (1 - alphaBar) - 1) < 4 * Math.sqrt(2 / count))
})

test('the mean of eq. 11 is the posterior mean with the predicted x0', () => {
  const xt = noise(50, 0)
  const epsilon = noise(50, 1)
  for (const t of [0, 1, 250, 999]) {
    const [alpha, beta, alphaBar] = [linear.alphas[t]!, linear.betas[t]!, linear.alphasCumprod[t]!]
    const input = { xt, output: epsilon, count: 1 }
    const x0 = convertOutput(x0Weights('epsilon', alphaBar), input, new Float64Array(50))
    const { x0Weight, xtWeight } = posteriorAt(t)
    const mean = weightedSum([x0Weight, xtWeight], x0, xt, new Float64Array(50))
    xt.forEach((x, i) => {
      const expected = (x - (beta / Math.sqrt(1 - alphaBar)) * epsilon[i]!) / Math.sqrt(alpha)
      assert.ok(Math.abs(mean[i]! - expected) < 1e-11 * Math.max(1, Math.abs(expected)))
    })
  }
})

test('the posterior is consistent with the forward process: q(x_{t−1}) = ∫ q(x_{t−1} | x_t, x_0) q(x_t | x_0)', () => {
  for (const t of [1, 300, 999]) {
    const alphaBar = linear.alphasCumprod[t]!
    const { x0Weight, xtWeight, variance } = posteriorAt(t)
    assertClose(x0Weight + xtWeight * Math.sqrt(alphaBar), Math.sqrt(linear.alphasCumprodPrev[t]!), 1e-12)
    assertClose(xtWeight ** 2 * (1 - alphaBar) + variance, 1 - linear.alphasCumprodPrev[t]!, 1e-12)
  }
})

test('every prediction type converts to the same x0 and noise', () => {
  const [x0, epsilon] = [0.3, -1.2]
  for (const alphaBar of [0.9999, 0.5, 4e-5]) {
    const xt = Math.sqrt(alphaBar) * x0 + Math.sqrt(1 - alphaBar) * epsilon
    for (const type of predictionTypes) {
      const [a, b] = targetWeights(type, alphaBar)
      const output = a * x0 + b * epsilon
      const [p, q] = x0Weights(type, alphaBar)
      const [r, s] = epsilonWeights(type, alphaBar)
      assertClose(p * xt + q * output, x0, 1e-9)
      assertClose(r * xt + s * output, epsilon, 1e-9)
    }
  }
})

test('min-SNR-5 gives an error on x0 the same weight for every prediction type', () => {
  // An error δ in x0 is an error δ·√SNR in ε and δ·√(SNR + 1) in v.
  for (const alphaBar of [0.99, 0.5, 0.01]) {
    const snr = alphaBar / (1 - alphaBar)
    const x0Weight = lossWeight('min-snr', 'x0', alphaBar)
    assertClose(lossWeight('min-snr', 'epsilon', alphaBar) * snr, x0Weight, 1e-12)
    assertClose(lossWeight('min-snr', 'v', alphaBar) * (snr + 1), x0Weight, 1e-12)
    assertClose(x0Weight, Math.min(snr, 5), 1e-12)
  }
  assert.equal(lossWeight('uniform', 'epsilon', 0.3), 1)
})

test('the variances that follow each prediction are skipped', () => {
  const xt = Float32Array.of(1, 2, 3, 4)
  const output = Float32Array.of(10, 20, 99, 99, 30, 40, 99, 99)
  const converted = convertOutput([2, 0.5], { xt, output, count: 2 }, new Float32Array(4))
  assert.deepEqual([...converted], [7, 14, 21, 28])
})

test('qSample writes into a given array, which may have another type', () => {
  const [x0, epsilon] = [Float32Array.of(0.5, -1), Float32Array.of(2, 0.25)]
  const out = new Float64Array(2)
  assert.equal(qSample(0.64, x0, epsilon, out), out)
  assert.deepEqual(Float32Array.from(out), qSample(0.64, x0, epsilon))
  assert.deepEqual([...x0], [0.5, -1])
})
