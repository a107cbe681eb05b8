import { normalCdf } from '../random/normal.ts'
import { convertOutput, type PredictionType, type Values, type VarianceType, x0Weights } from './process.ts'
import type { Schedule } from './schedule.ts'

export interface BoundOptions {
  readonly predictionType: PredictionType
  readonly varianceType: VarianceType
  /** Clamps the predicted x̂₀ to ±clamp. null: no clamping. */
  readonly clamp: number | null
}

/**
 * Computes one term of the variational bound of one image (DDPM eq. 5), in bits per dimension. For t ≥ 1 it is L_t,
 * KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)); for t = 0 it is L_0, −log p(x_0 | x_1). Here timesteps start at 0; in the
 * paper they start at 1.
 * @param x0 [size], bytes mapped to [−1, 1]
 * @param xt [size], a sample of q(x_t | x_0)
 * @param output the model's output, [size]. If variances are learned, [2·size]: the prediction, followed by the position of
 *   each log variance in its range, from −1 (low) to 1 (high).
 */
export function boundTerm(
  schedule: Schedule,
  { predictionType, varianceType, clamp }: BoundOptions,
  t: number,
  x0: Values,
  xt: Values,
  output: Values,
): number {
  const size = x0.length
  const weights = x0Weights(predictionType, schedule.alphasCumprod[t]!)
  const predictions = convertOutput(weights, { xt, output, count: 1 }, new Float64Array(size))
  const [low, high] = logVarianceRange(schedule, varianceType, t)
  const coef1 = schedule.posteriorMeanCoef1[t]!
  const bound = clamp ?? Infinity
  let nats = 0
  for (let i = 0; i < size; i++) {
    const predicted = Math.min(Math.max(predictions[i]!, -bound), bound)
    const logVariance = high === low ? low : low + ((output[size + i]! + 1) / 2) * (high - low)
    // Both means contain the same multiple of x_t, which cancels in their difference. At t = 0 the mean is the predicted x̂₀.
    nats +=
      t === 0
        ? -discretizedLogLikelihood(x0[i]!, predicted, logVariance)
        : normalKl(coef1 * (x0[i]! - predicted), schedule.posteriorLogVarianceClipped[t]!, logVariance)
  }
  return nats / size / Math.LN2
}

/** Computes L_T = KL(q(x_T | x_0) ‖ N(0, I)), which does not depend on the model, in bits per dimension. */
export function priorTerm(schedule: Schedule, x0: Values): number {
  const alphaBar = schedule.alphasCumprod[schedule.timesteps - 1]!
  let nats = 0
  for (const x of x0) nats += normalKl(Math.sqrt(alphaBar) * x, Math.log(1 - alphaBar), 0)
  return nats / x0.length / Math.LN2
}

/**
 * Returns the range [low, high] of the log variances of the reverse process at timestep t. Both are equal for fixed
 * variances. At t = 0, fixed variances use β̃_1 because β̃_0 = 0, as in the published code.
 */
export function logVarianceRange(
  schedule: Schedule,
  varianceType: VarianceType,
  t: number,
): readonly [low: number, high: number] {
  const small = schedule.posteriorLogVarianceClipped[t]!
  const large = Math.log(schedule.betas[t]!)
  switch (varianceType) {
    case 'fixedSmall':
      return [small, small]
    case 'fixedLarge':
      return t === 0 ? [small, small] : [large, large]
    case 'learnedRange':
      return [small, large]
  }
}

/** Returns KL(N(μ, e^a) ‖ N(μ − difference, e^b)) in nats. */
export function normalKl(difference: number, a: number, b: number): number {
  return 0.5 * (b - a + Math.exp(a - b) - 1 + difference ** 2 * Math.exp(-b))
}

/** Half the distance between adjacent bytes in [−1, 1]. */
const halfStep = 1 / 255
/** Lower bound of a byte's probability, as in the published code. */
const minProbability = 1e-12

/**
 * Returns the log probability of a byte in nats: the logarithm of a Gaussian's probability mass in the byte's bin, from half
 * a step below to half a step above. The bin of the first byte extends to −∞, that of the last byte to ∞ (DDPM eq. 13).
 * @param x the byte mapped to [−1, 1]
 */
export function discretizedLogLikelihood(x: number, mean: number, logVariance: number): number {
  const deviation = Math.exp(logVariance / 2)
  // If x > mean, both ends are mirrored at the mean. Both probabilities are then small and their difference is accurate.
  const sign = x > mean ? -1 : 1
  const cdf = (bound: number) => normalCdf((sign * (bound - mean)) / deviation)
  const below = x < -0.999 ? normalCdf(-sign * Infinity) : cdf(x - halfStep)
  const above = x > 0.999 ? normalCdf(sign * Infinity) : cdf(x + halfStep)
  return Math.log(Math.max(Math.abs(above - below), minProbability))
}
