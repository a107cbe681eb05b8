import type { Schedule } from './schedule.ts'

/** What the network's output means: the noise ε, the picture x_0, or v = √ᾱ ε − √(1−ᾱ) x_0. */
export type PredictionType = 'epsilon' | 'x0' | 'v'

/** How the terms of the loss are weighed over t. */
export type LossWeighting = 'uniform' | 'min-snr'

/** An array of numbers of any shape; results are of the same kind and length as the first argument. */
export type Values = Float32Array | Float64Array

/** Weights of two arrays in a sum. */
export type Pair = readonly [number, number]

function combine<V extends Values>(a: number, x: V, b: number, y: Values): V {
  return x.map((value, i) => a * value + b * y[i]!) as V
}

/** q(x_t | x_{t−1}) = N(√(1−β_t) x_{t−1}, β_t I), DDPM eq. 2: one noising step with the given standard normal noise. */
export function qStep<V extends Values>(schedule: Schedule, previous: V, t: number, noise: Values): V {
  return combine(Math.sqrt(schedule.alphas[t]!), previous, Math.sqrt(schedule.betas[t]!), noise)
}

/** q(x_t | x_0), DDPM eq. 4: √ᾱ_t x_0 + √(1−ᾱ_t) noise. */
export function qSample<V extends Values>(schedule: Schedule, x0: V, t: number, noise: Values): V {
  const alphaBar = schedule.alphasCumprod[t]!
  return combine(Math.sqrt(alphaBar), x0, Math.sqrt(1 - alphaBar), noise)
}

/** The weights [p, q] with which x_0 = p·x_t + q·output, for a network that predicts ε, x_0 or v. */
export function x0Weights(predictionType: PredictionType, alphaBar: number): Pair {
  switch (predictionType) {
    case 'epsilon':
      return [1 / Math.sqrt(alphaBar), -Math.sqrt(1 / alphaBar - 1)]
    case 'x0':
      return [0, 1]
    case 'v':
      return [Math.sqrt(alphaBar), -Math.sqrt(1 - alphaBar)]
  }
}

/** The weights [r, s] with which ε = r·x_t + s·output: the noise as predicted, before x_0 is clamped. */
export function epsilonWeights(predictionType: PredictionType, alphaBar: number): Pair {
  switch (predictionType) {
    case 'epsilon':
      return [0, 1]
    case 'x0':
      return [1 / Math.sqrt(1 - alphaBar), -Math.sqrt(alphaBar / (1 - alphaBar))]
    case 'v':
      return [Math.sqrt(1 - alphaBar), Math.sqrt(alphaBar)]
  }
}

/** The weights [a, b] with which the training target is a·x_0 + b·noise. */
export function targetWeights(predictionType: PredictionType, alphaBar: number): Pair {
  switch (predictionType) {
    case 'epsilon':
      return [0, 1]
    case 'x0':
      return [1, 0]
    case 'v':
      return [-Math.sqrt(1 - alphaBar), Math.sqrt(alphaBar)]
  }
}

/** x_0 from x_t and the network's output (for ε: DDPM eq. 15), unclamped. */
export function predictX0<V extends Values>(
  schedule: Schedule,
  predictionType: PredictionType,
  xt: V,
  t: number,
  output: Values,
): V {
  const [p, q] = x0Weights(predictionType, schedule.alphasCumprod[t]!)
  return combine(p, xt, q, output)
}

/** Mean and variance of q(x_{t−1} | x_t, x_0), DDPM eq. 6 and 7. */
export function qPosterior<V extends Values>(
  schedule: Schedule,
  x0: Values,
  xt: V,
  t: number,
): { mean: V; variance: number; logVarianceClipped: number } {
  return {
    mean: combine(schedule.posteriorMeanCoef2[t]!, xt, schedule.posteriorMeanCoef1[t]!, x0),
    variance: schedule.posteriorVariance[t]!,
    logVarianceClipped: schedule.posteriorLogVarianceClipped[t]!,
  }
}

/**
 * The weight of timestep t in the loss. Min-SNR-γ (Hang et al. 2023) with γ = 5 clamps the signal-to-noise ratio
 * ᾱ/(1−ᾱ), expressed for each kind of output.
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
