import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { inverseNormal, normalCdf } from '../random/normal.ts'
import { domains, fillNormals } from '../random/random.ts'
import { boundTerm, discretizedLogLikelihood, logVarianceRange, normalKl, priorTerm } from './likelihood.ts'
import {
  type PredictionType,
  predictionTypes,
  qSample,
  targetWeights,
  type VarianceType,
  varianceTypes,
} from './process.ts'
import { createSchedule, paperSchedule, type Schedule } from './schedule.ts'

function assertClose(actual: number, expected: number, tolerance: number, label = ''): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${label} ${actual}, expected ${expected}`)
}

function gaussian(count: number, step: number): Float64Array {
  const values = new Float32Array(count)
  fillNormals(11, { domain: domains.likelihood, image: 0, step }, values)
  return Float64Array.from(values)
}

test('Φ has the published values in both tails and inverts the quantile function', () => {
  // Abramowitz & Stegun table 26.1 and 26.2 (−log₁₀ Q(x) 10: 23.11805, 20: 88.56010).
  assertClose(normalCdf(1), 0.841344746068543, 1e-15)
  assertClose(normalCdf(-2), 0.022750131948179, 1e-15)
  assertClose(-Math.log10(normalCdf(-10)), 23.11805, 5e-6)
  assertClose(-Math.log10(normalCdf(-20)), 88.5601, 5e-5)
  assert.deepEqual([normalCdf(-Infinity), normalCdf(0), normalCdf(Infinity)], [0, 0.5, 1])
  for (const p of [1e-100, 1e-13, 1e-5, 0.1, 0.4, 0.77])
    assertClose(normalCdf(inverseNormal(p)) / p, 1, 1e-12)
})

test('the likelihoods of all bytes sum to 1, and each is the integral of the density over its bin', () => {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte / 127.5 - 1)
  for (const [mean, deviation] of [
    [0.2, 0.3],
    [-0.95, 0.05],
    [0.6, 0.02],
  ] as const) {
    const logVariance = 2 * Math.log(deviation)
    const probabilities = bytes.map((x) => Math.exp(discretizedLogLikelihood(x, mean, logVariance)))
    assertClose(
      probabilities.reduce((sum, p) => sum + p),
      1,
      1e-9,
    )
    bytes.slice(1, -1).forEach((x, i) => {
      // Simpson's rule over the bin.
      const density = (y: number) =>
        Math.exp(-(((y - mean) / deviation) ** 2) / 2) / deviation / Math.sqrt(2 * Math.PI)
      const cells = 80
      let integral = 0
      for (let k = 0; k <= cells; k++) {
        const weight = k === 0 || k === cells ? 1 : k % 2 === 1 ? 4 : 2
        integral += (weight * density(x - 1 / 255 + (k * 2) / 255 / cells) * 2) / 255 / cells / 3
      }
      if (integral > 1e-11) assertClose(probabilities[i + 1]! / integral, 1, 1e-6, `byte ${i + 1}:`)
    })
  }
  // The probability is clamped from below, as in the published code.
  assertClose(discretizedLogLikelihood(-1, 1, -10), Math.log(1e-12), 1e-9)
})

test('the KL divergence of two normal distributions equals its integral', () => {
  const [difference, a, b] = [0.7, -0.4, 0.5]
  let integral = 0
  const log = (x: number, mean: number, logVariance: number) =>
    -0.5 * (Math.log(2 * Math.PI) + logVariance + (x - mean) ** 2 * Math.exp(-logVariance))
  for (let x = -12; x < 12; x += 1e-3) {
    integral += Math.exp(log(x, difference, a)) * (log(x, difference, a) - log(x, 0, b)) * 1e-3
  }
  assertClose(normalKl(difference, a, b), integral, 1e-9)
})

test('variances have the published values; both fixed types use β̃_1 at the first step', () => {
  const schedule = createSchedule(paperSchedule)
  const at = (type: VarianceType, t: number) => logVarianceRange(schedule, type, t).map(Math.exp)
  for (const value of [...at('fixedSmall', 0), ...at('fixedLarge', 0)])
    assertClose(value, 5.453187661e-5, 1e-13)
  for (const value of at('fixedLarge', 999)) assertClose(value, 0.02, 1e-12)
  const [low, high] = at('learnedRange', 487) as [number, number]
  assertClose(low, 0.00979, 1e-5)
  assertClose(high, schedule.betas[487]!, 1e-12)
})

/**
 * Parameters of the data: N(μ, s²) in every dimension. The optimal denoiser, and thus every term, is known in closed form:
 * E[x_0 | x_t] = μ + s²√ᾱ/V·(x_t − √ᾱμ), Var(x_0 | x_t) = s²(1 − ᾱ)/V, V = s²ᾱ + 1 − ᾱ.
 */
const [mu, s] = [0.1, 0.25]

/** Returns the optimal predictions and the exact term at timestep t. */
function exact({ alphasCumprod, posteriorMeanCoef1, posteriorVariance }: Schedule, t: number) {
  const alphaBar = alphasCumprod[t]!
  const total = s ** 2 * alphaBar + 1 - alphaBar
  const remaining = (s ** 2 * (1 - alphaBar)) / total
  /** Variance of the posterior mean given only x_t. */
  const ofMean = posteriorMeanCoef1[t]! ** 2 * remaining
  /** Variance of p(x_{t−1} | x_t), which is Gaussian here. */
  const variance = posteriorVariance[t]! + ofMean
  return {
    ofMean,
    variance,
    predict: (xt: number) => mu + ((s ** 2 * Math.sqrt(alphaBar)) / total) * (xt - Math.sqrt(alphaBar) * mu),
    /** E[L_t] in bits for the given log variance of the model. */
    term: (logVariance: number) =>
      (0.5 * (variance / Math.exp(logVariance) - 1 + logVariance - Math.log(posteriorVariance[t]!))) /
      Math.LN2,
  }
}

suite('Gaussian data in closed form', () => {
  const schedule = createSchedule(paperSchedule)
  const count = 40_000
  const x0 = gaussian(count, 0).map((z) => mu + s * z)
  /** Returns the output of the optimal model. If variances are learned, the positions of the log variances follow. */
  const outputAt = (xt: Float64Array, t: number, type: PredictionType, learned: boolean): Float64Array => {
    const { predict, variance } = exact(schedule, t)
    const alphaBar = schedule.alphasCumprod[t]!
    const [a, b] = targetWeights(type, alphaBar)
    const outputs = xt.map((x) => {
      const epsilon = (x - Math.sqrt(alphaBar) * predict(x)) / Math.sqrt(1 - alphaBar)
      return a * predict(x) + b * epsilon
    })
    const [low, high] = logVarianceRange(schedule, 'learnedRange', t)
    const position = (2 * (Math.log(variance) - low)) / (high - low) - 1
    return learned ? Float64Array.from([...outputs, ...xt.fill(position)]) : outputs
  }

  for (const type of predictionTypes) {
    for (const varianceType of varianceTypes) {
      test(`every term has its exact value: ${type}, ${varianceType}`, () => {
        for (const t of [1, 2, 10, 100, 400, 999]) {
          const xt = qSample(schedule.alphasCumprod[t]!, x0, gaussian(count, t))
          const output = outputAt(xt.slice(), t, type, varianceType === 'learnedRange')
          const actual = boundTerm(
            schedule,
            { predictionType: type, varianceType, clamp: null },
            t,
            x0,
            xt,
            output,
          )
          const { term, variance, ofMean } = exact(schedule, t)
          const logVariance =
            varianceType === 'learnedRange'
              ? Math.log(variance)
              : logVarianceRange(schedule, varianceType, t)[0]
          // The random part of a term is the squared error of the mean divided by 2σ². It has a χ² distribution with one
          // degree of freedom per dimension.
          const deviation = (ofMean / Math.exp(logVariance) / Math.LN2) * Math.sqrt(0.5 / count)
          assertClose(actual, term(logVariance), 4 * deviation + 1e-9, `t = ${t}:`)
        }
      })
    }
  }

  test('the prior term L_T has its exact value', () => {
    const alphaBar = schedule.alphasCumprod[999]!
    const mean = x0.reduce((sum, x) => sum + x * x, 0) / count
    const expected = (0.5 * (alphaBar * mean + (1 - alphaBar) - 1 - Math.log(1 - alphaBar))) / Math.LN2
    assertClose(priorTerm(schedule, x0), expected, 1e-12)
    // With this short schedule, x_T still contains much of the data.
    const short = createSchedule({ ...paperSchedule, timesteps: 100 })
    const remaining = short.alphasCumprod[99]!
    assertClose(
      priorTerm(short, x0),
      (0.5 * (remaining * (mean - 1) - Math.log(1 - remaining))) / Math.LN2,
      1e-12,
    )
  })

  test('with the exact reverse process the terms add up to the entropy of the data', () => {
    // The data is rounded to bytes, as in images. For a density this smooth the entropy of the bytes is h(x) − log(2/255).
    const bytes = x0.map((x) => Math.round((x + 1) * 127.5) / 127.5 - 1)
    const options = { predictionType: 'x0', varianceType: 'learnedRange', clamp: 1 } as const
    let total = priorTerm(schedule, bytes)
    for (let t = 0; t < 1000; t++) {
      // Only the first terms have a large variance, so the others need fewer samples.
      const sampleCount = t < 40 ? count : 4000
      const start = sampleCount === count ? 0 : (t * 37) % (count - sampleCount)
      const subset = bytes.subarray(start, start + sampleCount)
      const xt = qSample(schedule.alphasCumprod[t]!, subset, gaussian(subset.length, t + 1))
      total += boundTerm(schedule, options, t, subset, xt, outputAt(xt.slice(), t, 'x0', true))
    }
    const entropy = 0.5 * Math.log2(2 * Math.PI * Math.E * s ** 2) - Math.log2(2 / 255)
    assertClose(total, entropy, 0.02)
  })
})
