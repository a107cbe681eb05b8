// The forward process q, its posterior, and the conversions between x_0, ε and v. All other code in the project uses these
// functions. They take ᾱ instead of a schedule and a timestep, because samplers also use noise levels between timesteps.

/** What the model predicts: the noise ε, the clean image x_0, or v = √ᾱ·ε − √(1−ᾱ)·x_0. */
export const predictionTypes = ['epsilon', 'x0', 'v'] as const
export type PredictionType = (typeof predictionTypes)[number]

/**
 * Variance of the reverse process p(x_{t−1} | x_t): the posterior's β̃ ('fixedSmall'), the forward process' β
 * ('fixedLarge', DDPM section 3.2), or a predicted value between both for each element ('learnedRange', Improved DDPM
 * eq. 15).
 */
export const varianceTypes = ['fixedSmall', 'fixedLarge', 'learnedRange'] as const
export type VarianceType = (typeof varianceTypes)[number]

/** How the loss weights the timesteps. */
export const lossWeightings = ['uniform', 'min-snr'] as const
export type LossWeighting = (typeof lossWeightings)[number]

/** An array of any shape. */
export type Values = Float32Array | Float64Array

/** The weights of two arrays in a sum. */
export type WeightPair = readonly [number, number]

/**
 * Samples q(x_t | x_0) with the given standard normal noise, DDPM eq. 4: √ᾱ·x_0 + √(1−ᾱ)·noise.
 * @param out receives x_t. Default: a new array of the type of x0.
 * @returns `out`
 */
export function qSample<V extends Values>(alphaBar: number, x0: V, noise: Values): V
export function qSample<V extends Values>(alphaBar: number, x0: Values, noise: Values, out: V): V
export function qSample(alphaBar: number, x0: Values, noise: Values, out: Values = x0.slice()): Values {
  return weightedSum([Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)], x0, noise, out)
}

/** Computes out = a·x + b·y element by element. All arrays have the same length; `out` may be x or y. */
export function weightedSum<V extends Values>([a, b]: WeightPair, x: Values, y: Values, out: V): V {
  for (let i = 0; i < out.length; i++) out[i] = a * x[i]! + b * y[i]!
  return out
}

/** Weights of x_0 and x_t in the mean of q(x_{t−1} | x_t, x_0), and its variance. */
export interface Posterior {
  readonly x0Weight: number
  readonly xtWeight: number
  readonly variance: number
}

/**
 * Returns the posterior q(x_{t−1} | x_t, x_0), DDPM eq. 6 and 7. For a subset of the timesteps, pass the α and β of the
 * shorter chain: α = ᾱ/ᾱ_prev, β = 1 − α (Improved DDPM, section 4).
 */
export function qPosterior({
  alpha,
  beta,
  alphaBar,
  alphaBarPrev,
}: Readonly<Record<'alpha' | 'beta' | 'alphaBar' | 'alphaBarPrev', number>>): Posterior {
  return {
    x0Weight: (beta * Math.sqrt(alphaBarPrev)) / (1 - alphaBar),
    xtWeight: ((1 - alphaBarPrev) * Math.sqrt(alpha)) / (1 - alphaBar),
    variance: (beta * (1 - alphaBarPrev)) / (1 - alphaBar),
  }
}

/** Returns the weights [p, q] in x_0 = p·x_t + q·output (for ε: DDPM eq. 15). */
export function x0Weights(predictionType: PredictionType, alphaBar: number): WeightPair {
  switch (predictionType) {
    case 'epsilon':
      return [1 / Math.sqrt(alphaBar), -Math.sqrt(1 / alphaBar - 1)]
    case 'x0':
      return [0, 1]
    case 'v':
      return [Math.sqrt(alphaBar), -Math.sqrt(1 - alphaBar)]
  }
}

/** Returns the weights [r, s] in ε = r·x_t + s·output: the predicted noise, before x_0 is clamped. */
export function epsilonWeights(predictionType: PredictionType, alphaBar: number): WeightPair {
  switch (predictionType) {
    case 'epsilon':
      return [0, 1]
    case 'x0':
      return [1 / Math.sqrt(1 - alphaBar), -Math.sqrt(alphaBar / (1 - alphaBar))]
    case 'v':
      return [Math.sqrt(1 - alphaBar), Math.sqrt(alphaBar)]
  }
}

/** Returns the weights [a, b] in the training target a·x_0 + b·noise. */
export function targetWeights(predictionType: PredictionType, alphaBar: number): WeightPair {
  switch (predictionType) {
    case 'epsilon':
      return [0, 1]
    case 'x0':
      return [1, 0]
    case 'v':
      return [-Math.sqrt(1 - alphaBar), Math.sqrt(alphaBar)]
  }
}

/**
 * Converts the model's output: p·x_t + q·output. With `x0Weights` the result is the predicted x̂₀, unclamped; with
 * `epsilonWeights` it is the predicted noise.
 * @param xt [count, size]
 * @param output [count, size], or [count, 2·size] if the model also predicts variances: each image's prediction is then
 *   followed by its variances, which are skipped
 * @param out [count, size], receives the result
 * @returns `out`
 */
export function convertOutput<V extends Values>(
  [p, q]: WeightPair,
  { xt, output, count }: { xt: Values; output: Values; count: number },
  out: V,
): V {
  const size = xt.length / count
  const stride = output.length / count
  for (let start = 0, from = 0; start < xt.length; start += size, from += stride) {
    for (let i = 0; i < size; i++) out[start + i] = p * xt[start + i]! + q * output[from + i]!
  }
  return out
}

/**
 * Returns the weight of a timestep in the loss. 'min-snr' is Min-SNR-γ (Hang et al. 2023) with γ = 5: for x_0 the weight is
 * min(SNR, γ) with SNR = ᾱ/(1−ᾱ). For ε and v, the weights give an error of x_0 the same loss.
 */
export function lossWeight(
  weighting: LossWeighting,
  predictionType: PredictionType,
  alphaBar: number,
): number {
  if (weighting === 'uniform') return 1
  const snr = alphaBar / (1 - alphaBar)
  const clamped = Math.min(snr, 5)
  switch (predictionType) {
    case 'epsilon':
      return clamped / snr
    case 'x0':
      return clamped
    case 'v':
      return clamped / (snr + 1)
  }
}
