import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { inverseNormal, normalCdf } from '../random/normal.ts'
import { domains, normals } from '../random/random.ts'
import {
  boundTerm,
  discretizedLogLikelihood,
  logVarianceRange,
  normalKl,
  priorTerm,
  type VarianceType,
} from './likelihood.ts'
import { type PredictionType, qSample, targetWeights } from './process.ts'
import { createSchedule, paperSchedule, type Schedule } from './schedule.ts'

function close(found: number, wanted: number, tolerance: number, what = ''): void {
  assert.ok(Math.abs(found - wanted) <= tolerance, `${what} ${found}, not ${wanted}`)
}

function gaussian(count: number, step: number): Float64Array {
  const values = new Float32Array(count)
  normals(11, { domain: domains.likelihood, image: 0, step }, values)
  return Float64Array.from(values)
}

test('Φ: published values, both tails, and the inverse of the quantile', () => {
  // Abramowitz & Stegun table 26.1 and 26.2 (−log₁₀ Q(x) 10: 23.11805, 20: 88.56010).
  close(normalCdf(1), 0.841344746068543, 1e-15)
  close(normalCdf(-2), 0.022750131948179, 1e-15)
  close(-Math.log10(normalCdf(-10)), 23.11805, 5e-6)
  close(-Math.log10(normalCdf(-20)), 88.5601, 5e-5)
  assert.deepEqual([normalCdf(-Infinity), normalCdf(0), normalCdf(Infinity)], [0, 0.5, 1])
  for (const p of [1e-100, 1e-13, 1e-5, 0.1, 0.4, 0.77]) close(normalCdf(inverseNormal(p)) / p, 1, 1e-12)
})

test('a byte’s likelihood: the bins of all bytes share out the line, and each is the integral of the density', () => {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte / 127.5 - 1)
  for (const [mean, deviation] of [
    [0.2, 0.3],
    [-0.95, 0.05],
    [0.6, 0.02],
  ] as const) {
    const logVariance = 2 * Math.log(deviation)
    const probabilities = bytes.map((x) => Math.exp(discretizedLogLikelihood(x, mean, logVariance)))
    close(
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
      if (integral > 1e-11) close(probabilities[i + 1]! / integral, 1, 1e-6, `byte ${i + 1}:`)
    })
  }
  // Beyond what the published code tells apart.
  close(discretizedLogLikelihood(-1, 1, -10), Math.log(1e-12), 1e-9)
})

test('KL of two normals: against its integral', () => {
  const [difference, a, b] = [0.7, -0.4, 0.5]
  let integral = 0
  const log = (x: number, mean: number, logVariance: number) =>
    -0.5 * (Math.log(2 * Math.PI) + logVariance + (x - mean) ** 2 * Math.exp(-logVariance))
  for (let x = -12; x < 12; x += 1e-3) {
    integral += Math.exp(log(x, difference, a)) * (log(x, difference, a) - log(x, 0, b)) * 1e-3
  }
  close(normalKl(difference, a, b), integral, 1e-9)
})

test('published variances: both fixed kinds take β̃_1 at the first step', () => {
  const schedule = createSchedule(paperSchedule)
  const at = (type: VarianceType, t: number) => logVarianceRange(schedule, type, t).map(Math.exp)
  for (const value of [...at('fixedSmall', 0), ...at('fixedLarge', 0)]) close(value, 5.453187661e-5, 1e-13)
  for (const value of at('fixedLarge', 999)) close(value, 0.02, 1e-12)
  const [low, high] = at('learnedRange', 487) as [number, number]
  close(low, 0.00979, 1e-5)
  close(high, schedule.betas[487]!, 1e-12)
})

/**
 * Data N(μ, s²) in every dimension: the optimal denoiser is known, and with it every term.
 * E[x_0 | x_t] = μ + s²√ᾱ/V·(x_t − √ᾱμ), Var(x_0 | x_t) = s²(1 − ᾱ)/V, V = s²ᾱ + 1 − ᾱ.
 */
const [mu, s] = [0.1, 0.25]

function exact({ alphasCumprod, posteriorMeanCoef1, posteriorVariance }: Schedule, t: number) {
  const alphaBar = alphasCumprod[t]!
  const total = s ** 2 * alphaBar + 1 - alphaBar
  const remaining = (s ** 2 * (1 - alphaBar)) / total
  /** Variance of the posterior's mean, given x_t alone. */
  const ofMean = posteriorMeanCoef1[t]! ** 2 * remaining
  /** Variance of p(x_{t−1} | x_t), which is Gaussian here. */
  const variance = posteriorVariance[t]! + ofMean
  return {
    ofMean,
    variance,
    predict: (xt: number) => mu + ((s ** 2 * Math.sqrt(alphaBar)) / total) * (xt - Math.sqrt(alphaBar) * mu),
    /** E L_{t−1} in bits, for the model's log variance. */
    term: (logVariance: number) =>
      (0.5 * (variance / Math.exp(logVariance) - 1 + logVariance - Math.log(posteriorVariance[t]!))) /
      Math.LN2,
  }
}

suite('Gaussian data in closed form', () => {
  const schedule = createSchedule(paperSchedule)
  const count = 40_000
  const x0 = gaussian(count, 0).map((z) => mu + s * z)
  /** What a perfect network says, with the learned variance's place in its range where asked. */
  const outputAt = (xt: Float64Array, t: number, type: PredictionType, learned: boolean): Float64Array => {
    const { predict, variance } = exact(schedule, t)
    const alphaBar = schedule.alphasCumprod[t]!
    const [a, b] = targetWeights(type, alphaBar)
    const outputs = xt.map((x) => {
      const epsilon = (x - Math.sqrt(alphaBar) * predict(x)) / Math.sqrt(1 - alphaBar)
      return a * predict(x) + b * epsilon
    })
    const [low, high] = logVarianceRange(schedule, 'learnedRange', t)
    const place = (2 * (Math.log(variance) - low)) / (high - low) - 1
    return learned ? Float64Array.from([...outputs, ...xt.fill(place)]) : outputs
  }

  for (const type of ['epsilon', 'x0', 'v'] as const) {
    for (const varianceType of ['fixedSmall', 'fixedLarge', 'learnedRange'] as const) {
      test(`every term has its value: ${type}, ${varianceType}`, () => {
        for (const t of [1, 2, 10, 100, 400, 999]) {
          const xt = qSample(schedule, x0, t, gaussian(count, t))
          const output = outputAt(xt.slice(), t, type, varianceType === 'learnedRange')
          const found = boundTerm(
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
          // What is random in a term is the squared error of the mean over 2σ²: a χ² of one degree a dimension.
          const deviation = (ofMean / Math.exp(logVariance) / Math.LN2) * Math.sqrt(0.5 / count)
          close(found, term(logVariance), 4 * deviation + 1e-9, `t = ${t}:`)
        }
      })
    }
  }

  test('L_T', () => {
    const alphaBar = schedule.alphasCumprod[999]!
    const mean = x0.reduce((sum, x) => sum + x * x, 0) / count
    const wanted = (0.5 * (alphaBar * mean + (1 - alphaBar) - 1 - Math.log(1 - alphaBar))) / Math.LN2
    close(priorTerm(schedule, x0), wanted, 1e-12)
    // A chain too short for the data to be forgotten.
    const short = createSchedule({ ...paperSchedule, timesteps: 100 })
    const left = short.alphasCumprod[99]!
    close(priorTerm(short, x0), (0.5 * (left * (mean - 1) - Math.log(1 - left))) / Math.LN2, 1e-12)
  })

  test('with the exact reverse process the bound is tight: all terms add up to the entropy of the data', () => {
    // Bytes, as pictures are; of a density this smooth they have the entropy h(x) − log 2/255.
    const bytes = x0.map((x) => Math.round((x + 1) * 127.5) / 127.5 - 1)
    const options = { predictionType: 'x0', varianceType: 'learnedRange', clamp: 1 } as const
    let total = priorTerm(schedule, bytes)
    for (let t = 0; t < 1000; t++) {
      // The terms that fluctuate are the first ones.
      const many = t < 40 ? count : 4000
      const start = many === count ? 0 : (t * 37) % (count - many)
      const some = bytes.subarray(start, start + many)
      const xt = qSample(schedule, some, t, gaussian(some.length, t + 1))
      total += boundTerm(schedule, options, t, some, xt, outputAt(xt.slice(), t, 'x0', true))
    }
    const entropy = 0.5 * Math.log2(2 * Math.PI * Math.E * s ** 2) - Math.log2(2 / 255)
    close(total, entropy, 0.02)
  })
})
