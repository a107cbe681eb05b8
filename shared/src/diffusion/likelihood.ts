import { normalCdf } from '../random/normal.ts'
import { type Pair, type PredictionType, type Values, x0Weights } from './process.ts'
import type { Schedule } from './schedule.ts'

/**
 * Variances of the reverse process p(x_{t−1} | x_t): the posterior's β̃ or the forward process' β (DDPM section 3.2), or
 * in between, as the network says for each value (Improved DDPM eq. 15).
 */
export const varianceTypes = ['fixedSmall', 'fixedLarge', 'learnedRange'] as const
export type VarianceType = (typeof varianceTypes)[number]

/**
 * The log variances [low, high] between which those of the reverse process lie at timestep t; equal where they are
 * fixed. β̃_0 is 0, in whose place stands β̃_1, for both kinds of fixed ones, as in the published code.
 */
export function logVarianceRange(schedule: Schedule, varianceType: VarianceType, t: number): Pair {
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

/** KL(N(μ, e^a) ‖ N(μ − difference, e^b)) in nats. */
export function normalKl(difference: number, a: number, b: number): number {
  return 0.5 * (b - a + Math.exp(a - b) - 1 + difference ** 2 * Math.exp(-b))
}

/** Half a step between neighbouring bytes in [−1, 1]. */
const half = 1 / 255
/** The least probability of a byte, as in the published code: what lies further out is not told apart. */
const least = 1e-12

/**
 * log of the probability of a byte under a Gaussian, in nats: its mass from half a step below to half a step above,
 * the outermost bytes taking all that is beyond (DDPM eq. 13).
 * @param x the byte as a number in [−1, 1]
 */
export function discretizedLogLikelihood(x: number, mean: number, logVariance: number): number {
  const deviation = Math.exp(logVariance / 2)
  // Mirrored where need be, so that the difference is one of small numbers.
  const sign = x > mean ? -1 : 1
  const to = (bound: number) => normalCdf((sign * (bound - mean)) / deviation)
  const below = x < -0.999 ? normalCdf(-sign * Infinity) : to(x - half)
  const above = x > 0.999 ? normalCdf(sign * Infinity) : to(x + half)
  return Math.log(Math.max(Math.abs(above - below), least))
}

export interface BoundOptions {
  readonly predictionType: PredictionType
  readonly varianceType: VarianceType
  /** Bound of the predicted x_0; null leaves it. */
  readonly clamp: number | null
}

/**
 * One term of the variational bound for one picture (DDPM eq. 5), in bits per dimension: L_{t−1} for the timestep that
 * is called t − 1 ≥ 1 in the paper, KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)), or at t = 0 L_0, −log p(x_0 | x_1).
 * @param x0 [size], bytes in [−1, 1]
 * @param xt [size], drawn from q(x_t | x_0)
 * @param output [size] or, where variances are learned, [2·size]: of each value what the network predicts, then where
 * its log variance lies in the range, −1 … 1
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
  const [p, q] = x0Weights(predictionType, schedule.alphasCumprod[t]!)
  const [low, high] = logVarianceRange(schedule, varianceType, t)
  const coef1 = schedule.posteriorMeanCoef1[t]!
  const bound = clamp ?? Infinity
  let nats = 0
  for (let i = 0; i < size; i++) {
    const predicted = Math.min(Math.max(p * xt[i]! + q * output[i]!, -bound), bound)
    const logVariance = high === low ? low : low + ((output[size + i]! + 1) / 2) * (high - low)
    // Both means have the same share of x_t. At t = 0 the weight of x_0 is 1 and that of x_t 0.
    nats +=
      t === 0
        ? -discretizedLogLikelihood(x0[i]!, predicted, logVariance)
        : normalKl(coef1 * (x0[i]! - predicted), schedule.posteriorLogVarianceClipped[t]!, logVariance)
  }
  return nats / size / Math.LN2
}

/** L_T, KL(q(x_T | x_0) ‖ N(0, I)), the part of the bound that no network changes: in bits per dimension. */
export function priorTerm(schedule: Schedule, x0: Values): number {
  const alphaBar = schedule.alphasCumprod[schedule.timesteps - 1]!
  let nats = 0
  for (const x of x0) nats += normalKl(Math.sqrt(alphaBar) * x, Math.log(1 - alphaBar), 0)
  return nats / x0.length / Math.LN2
}
