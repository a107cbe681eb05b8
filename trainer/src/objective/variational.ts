import { logVarianceRange, type PredictionType, type Schedule, x0Weights } from '@ddpm/shared'
import type { Ops } from '../algebra/ops.ts'

/** Columns of the table [T, 4] of schedule constants that the terms of the bound depend on. */
const columns = ['logVariance', 'range', 'meanScale', 'isFirst'] as const

/**
 * Computes the constants of a schedule, one row per timestep:
 * - logVariance: log β̃_t, the log variance of the posterior
 * - range: log β_t − log β̃_t
 * - meanScale: change of the mean of p(x_{t−1} | x_t) per unit of the model's output
 * - isFirst: 1 for t = 0, whose term is L_0, else 0
 * @returns [T, 4]
 */
export function createVariationalTable(schedule: Schedule, predictionType: PredictionType): Float32Array {
  const table = new Float32Array(schedule.timesteps * columns.length)
  for (let t = 0; t < schedule.timesteps; t++) {
    const [low, high] = logVarianceRange(schedule, 'learnedRange', t)
    // x̂₀ = p·x_t + q·output, and the mean is coef1·x̂₀ + coef2·x_t (DDPM eq. 7).
    const [, q] = x0Weights(predictionType, schedule.alphasCumprod[t]!)
    table.set([low, high - low, schedule.posteriorMeanCoef1[t]! * q, t === 0 ? 1 : 0], t * columns.length)
  }
  return table
}

/**
 * Computes the term of the variational bound at each image's timestep, in bits per dimension. Only the learned variances
 * receive a gradient; the mean is treated as a constant (Improved DDPM section 3.1).
 * @param table result of createVariationalTable
 * @param timestep [N]
 * @param x0 [N, C, H, W]
 * @param error [N, C, H, W], the model's output − its target
 * @param varianceInterpolation [N, C, H, W], the model's output for the variances: −1 means the log variance log β̃, 1 means
 *   log β (Improved DDPM eq. 15)
 * @returns [N, 1, 1, 1]
 */
export function variationalTerm<T>(
  ops: Ops<T>,
  table: Float32Array,
  {
    timestep,
    x0,
    error,
    varianceInterpolation: v,
  }: { timestep: T; x0: T; error: T; varianceInterpolation: T },
): T {
  const [n, ...image] = ops.shape(x0) as readonly number[]
  const rows = ops.gather(ops.constant(table, [table.length / columns.length, columns.length]), timestep)
  const [low, range, meanScale, isFirst] = columns.map((_, column) =>
    ops.reshape(ops.slice(rows, { axis: 1, start: column, end: column + 1 }), [n!, 1, 1, 1]),
  ) as [T, T, T, T]

  const fraction = ops.scale(ops.add(v, ops.scalarLike(v, 1)), 0.5)
  const logVariance = ops.add(ops.mul(fraction, range), low)
  // Mean of the model − mean of the posterior; for t = 0, mean of the model − x_0.
  const difference = ops.mul(ops.stopGradient(error), meanScale)

  // KL(q ‖ p) = ½(b − a + e^{a−b} − 1 + δ²e^{−b}), where a and b are the log variances of q and p.
  const excess = ops.sub(logVariance, low)
  const ratio = ops.exp(ops.scale(excess, -1))
  const scaledSquares = ops.mul(ops.mul(difference, difference), ops.exp(ops.scale(logVariance, -1)))
  const divergence = ops.scale(
    ops.sub(ops.add(ops.add(excess, ratio), scaledSquares), ops.scalarLike(excess, 1)),
    0.5,
  )
  const reconstruction = discretizedNegativeLogLikelihood(ops, { x0, difference, logVariance })
  const nats = ops.add(divergence, ops.mul(isFirst, ops.sub(reconstruction, divergence)))
  const dims = image.reduce((a, b) => a * b, 1)
  return ops.scale(ops.reduceSum(nats, [1, 2, 3]), 1 / dims / Math.LN2)
}

/**
 * Approximates the cumulative distribution function of N(0, 1), as the published code does:
 * Φ(x) ≈ ½(1 + tanh(√(2/π)(x + 0.044715x³))) = σ(2√(2/π)(x + 0.044715x³)).
 */
function normalCdf<T>(ops: Ops<T>, x: T): T {
  const cube = ops.mul(ops.mul(x, x), x)
  return ops.sigmoid(ops.scale(ops.add(x, ops.scale(cube, 0.044715)), 2 * Math.sqrt(2 / Math.PI)))
}

/**
 * Computes −log of the probability of each byte value of x0 under a Gaussian (DDPM eq. 13), in nats: the counterpart of
 * discretizedLogLikelihood in @ddpm/shared.
 * @param difference mean of the Gaussian − x0
 */
function discretizedNegativeLogLikelihood<T>(
  ops: Ops<T>,
  { x0, difference, logVariance }: { x0: T; difference: T; logVariance: T },
): T {
  const inverseStd = ops.exp(ops.scale(logVariance, -0.5))
  const half = 1 / 255
  const cdfAt = (offset: number) =>
    normalCdf(ops, ops.mul(ops.sub(ops.scalarLike(difference, offset), difference), inverseStd))
  const [below, above] = [cdfAt(-half), cdfAt(half)]
  // The intervals of the lowest and the highest byte value extend to −∞ and +∞.
  const lowest = ops.within(x0, { min: -2, max: -0.999 })
  const highest = ops.within(x0, { min: 0.999, max: 2 })
  const one = ops.scalarLike(above, 1)
  const upper = ops.add(above, ops.mul(highest, ops.sub(one, above)))
  const lower = ops.sub(below, ops.mul(lowest, below))
  const probability = ops.clamp(ops.sub(upper, lower), { min: 1e-12, max: 1 })
  return ops.scale(ops.log(probability), -1)
}
