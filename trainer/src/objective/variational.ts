import { logVarianceRange, type PredictionType, type Schedule, x0Weights } from '@ddpm/shared'
import type { Ops } from '../algebra/ops.ts'

/** What the terms of the bound need of the schedule at each timestep: the columns of a table [T, 4]. */
const columns = ['logVariance', 'range', 'meanScale', 'isFirst'] as const

/**
 * The table of a schedule: the log variance of the posterior and how far that of the forward process is above it, what
 * an error of the network's output means for the mean of p(x_{t−1} | x_t), and whether the term is L_0.
 */
export function variationalTable(schedule: Schedule, predictionType: PredictionType): Float32Array {
  const table = new Float32Array(schedule.timesteps * columns.length)
  for (let t = 0; t < schedule.timesteps; t++) {
    const [low, high] = logVarianceRange(schedule, 'learnedRange', t)
    // x_0 = p·x_t + q·output, and the mean has coef1 of it.
    const [, q] = x0Weights(predictionType, schedule.alphasCumprod[t]!)
    table.set([low, high - low, schedule.posteriorMeanCoef1[t]! * q, t === 0 ? 1 : 0], t * columns.length)
  }
  return table
}

/** Φ(x) ≈ ½(1 + tanh(√(2/π)(x + 0.044715x³))) = σ(2√(2/π)(x + 0.044715x³)), as the published code has it. */
function normalCdf<T>(ops: Ops<T>, x: T): T {
  const cube = ops.mul(ops.mul(x, x), x)
  return ops.sigmoid(ops.scale(ops.add(x, ops.scale(cube, 0.044715)), 2 * Math.sqrt(2 / Math.PI)))
}

/** −log of a byte's probability under a Gaussian (DDPM eq. 13): see discretizedLogLikelihood. */
function byteNats<T>(
  ops: Ops<T>,
  { x0, difference, logVariance }: { x0: T; difference: T; logVariance: T },
): T {
  const inverseDeviation = ops.exp(ops.scale(logVariance, -0.5))
  const half = 1 / 255
  const to = (bound: number) =>
    normalCdf(ops, ops.mul(ops.sub(ops.scalarLike(difference, bound), difference), inverseDeviation))
  const [below, above] = [to(-half), to(half)]
  const lowest = ops.within(x0, { min: -2, max: -0.999 })
  const highest = ops.within(x0, { min: 0.999, max: 2 })
  const one = ops.scalarLike(above, 1)
  const upper = ops.add(above, ops.mul(highest, ops.sub(one, above)))
  const lower = ops.sub(below, ops.mul(lowest, below))
  const probability = ops.clamp(ops.sub(upper, lower), { min: 1e-12, max: 1 })
  return ops.scale(ops.log(probability), -1)
}

/**
 * The term of the variational bound at each picture's timestep, in bits per dimension, as a function of the variances
 * alone: the mean is held (Improved DDPM section 3.1).
 * @param table of variationalTable
 * @param timestep [N]
 * @param x0 [N, C, H, W]
 * @param error [N, C, H, W], the network's output less its target
 * @param place [N, C, H, W], where in its range each log variance lies, −1 … 1 (Improved DDPM eq. 15)
 * @returns [N, 1, 1, 1]
 */
export function variationalTerm<T>(
  ops: Ops<T>,
  table: Float32Array,
  { timestep, x0, error, place }: { timestep: T; x0: T; error: T; place: T },
): T {
  const [n, ...image] = ops.shape(x0) as readonly number[]
  const rows = ops.gather(ops.constant(table, [table.length / columns.length, columns.length]), timestep)
  const [low, range, meanScale, isFirst] = columns.map((_, column) =>
    ops.reshape(ops.slice(rows, { axis: 1, start: column, end: column + 1 }), [n!, 1, 1, 1]),
  ) as [T, T, T, T]

  const fraction = ops.scale(ops.add(place, ops.scalarLike(place, 1)), 0.5)
  const logVariance = ops.add(ops.mul(fraction, range), low)
  /** Of the model's mean from the posterior's; at the first step from x_0 itself. */
  const difference = ops.mul(ops.stopGradient(error), meanScale)

  // ½(b − a + e^{a−b} − 1 + δ²e^{−b}) for the log variances a of q and b of p.
  const excess = ops.sub(logVariance, low)
  const ratio = ops.exp(ops.scale(excess, -1))
  const squares = ops.mul(ops.mul(difference, difference), ops.exp(ops.scale(logVariance, -1)))
  const divergence = ops.scale(
    ops.sub(ops.add(ops.add(excess, ratio), squares), ops.scalarLike(excess, 1)),
    0.5,
  )
  const reconstruction = byteNats(ops, { x0, difference, logVariance })
  const nats = ops.add(divergence, ops.mul(isFirst, ops.sub(reconstruction, divergence)))
  const dims = image.reduce((a, b) => a * b, 1)
  return ops.scale(ops.reduceSum(nats, [1, 2, 3]), 1 / dims / Math.LN2)
}
