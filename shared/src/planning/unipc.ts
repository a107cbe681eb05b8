import { type Level, lambdaOf } from './levels.ts'
import type { Row } from './plan.ts'
import { createRow, stepsBetween, type X0Options } from './row.ts'

export interface UniPcOptions extends X0Options {
  /** p of UniPC-p. With the corrector the order of accuracy is p + 1. */
  readonly order: 1 | 2 | 3
  /** The function B(h): 'bh1' is h, 'bh2' is e^h − 1 (UniPC section 3.1). */
  readonly variant: 'bh1' | 'bh2'
  /** Lowers the order of the last steps for stability. */
  readonly lowerOrderFinal: boolean
  /** Indices of the steps whose result is not corrected. */
  readonly uncorrected: readonly number[]
}

/**
 * Plans UniPC (Zhao et al. 2023) with data prediction, multistep. The corrector needs x_0 at the predicted state, which the
 * next step computes anyway. So each row first corrects the previous step and then predicts the next state. Predictor and
 * corrector start from the same state, so the corrected state is the predicted state plus a weighted sum of x_0 and earlier
 * x_0. Therefore the corrector needs no separate rows. With the weights P of the predictor and C of the corrector:
 *
 *     x^c_i = x_i + Σ_k (C_k − P_k)·x_0₋ₖ,    x_{i+1} = (σ_{i+1}/σ_i)·x^c_i + Σ_k P_k·x_0₋ₖ
 */
export function unipc(levels: readonly Level[], options: UniPcOptions): Row[] {
  const steps = levels.length - 1
  const lambdas = levels.map(({ alphaBar }) => lambdaOf(alphaBar))
  const orders = Array.from({ length: steps }, (_, i) => {
    const endsClean = i === steps - 1 && levels[steps]!.alphaBar === 1
    const maxOrder = options.lowerOrderFinal ? Math.min(options.order, steps - i) : options.order
    return endsClean ? 1 : Math.min(maxOrder, i + 1)
  })
  return stepsBetween(levels).map(({ from, to, index }) => {
    const ratio = Math.sqrt((1 - to.alphaBar) / (1 - from.alphaBar))
    const weights = predictor(lambdas, index, orders[index]!, Math.sqrt(to.alphaBar), options)
    if (index > 0 && !options.uncorrected.includes(index - 1)) {
      const order = orders[index - 1]!
      const alpha = Math.sqrt(from.alphaBar)
      const corrected = corrector(lambdas, index, order, alpha, options)
      const predicted = [0, ...predictor(lambdas, index - 1, order, alpha, options)]
      corrected.forEach((weight, k) => {
        weights[k] = (weights[k] ?? 0) + ratio * (weight - predicted[k]!)
      })
    }
    const [b, ...c] = weights
    return createRow(from, to, options, { a: ratio, b: b!, c })
  })
}

/**
 * Returns the weights of x_0 at level i and of earlier x_0 in the UniP-p step from level i (UniPC eq. 3, algorithm 2).
 */
function predictor(
  lambdas: readonly number[],
  i: number,
  order: number,
  alpha: number,
  { variant }: UniPcOptions,
): number[] {
  const h = lambdas[i + 1]! - lambdas[i]!
  const gain = -Math.expm1(-h)
  if (order === 1 || h === 0) return [alpha * gain]
  const ratios = Array.from({ length: order - 1 }, (_, k) => (lambdas[i - k - 1]! - lambdas[i]!) / h)
  const scale = variant === 'bh1' ? h : gain
  // For order 2 the paper simplifies the weight to ½, which does not depend on B(h).
  const rho = order === 2 ? [0.5] : solve(vandermonde(ratios), targets(h, order - 1, scale))
  const shares = rho.map((weight, k) => (alpha * scale * weight) / ratios[k]!)
  return [alpha * gain - sum(shares), ...shares]
}

/** Returns the weights of x_0 at level i and at the earlier levels in the UniC-p step that leads to level i. */
function corrector(
  lambdas: readonly number[],
  i: number,
  order: number,
  alpha: number,
  { variant }: UniPcOptions,
): number[] {
  const h = lambdas[i]! - lambdas[i - 1]!
  const gain = -Math.expm1(-h)
  if (h === 0) return [0, alpha * gain]
  const ratios = [
    ...Array.from({ length: order - 1 }, (_, k) => (lambdas[i - k - 2]! - lambdas[i - 1]!) / h),
    1,
  ]
  const scale = variant === 'bh1' ? h : gain
  const rho = order === 1 ? [0.5] : solve(vandermonde(ratios), targets(h, order, scale))
  const shares = rho.map((weight, k) => (alpha * scale * weight) / ratios[k]!)
  const latest = shares.pop()!
  return [latest, alpha * gain - sum(shares) - latest, ...shares]
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/** Returns the paper's matrix R_p, with the rows r^0, r^1, …. */
function vandermonde(ratios: readonly number[]): number[][] {
  return ratios.map((_, power) => ratios.map((ratio) => ratio ** power))
}

/**
 * Returns the right-hand sides n!·h·φ_{n+1}(h)/B(h) for n = 1 … count, with the φ of data prediction:
 * φ_1 = (1 − e^{−h})/h, φ_{n+1} = (1/n! − φ_n)/h.
 */
function targets(h: number, count: number, scale: number): number[] {
  let phi = -Math.expm1(-h) / h
  let factorial = 1
  return Array.from({ length: count }, (_, i) => {
    factorial *= i + 1
    phi = (1 / factorial - phi) / h
    return (factorial * h * phi) / scale
  })
}

/** Solves a small linear system by Gaussian elimination. */
function solve(matrix: number[][], right: readonly number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i]!])
  const n = rows.length
  for (let column = 0; column < n; column++) {
    const pivot = rows.findIndex(
      (row, i) =>
        i >= column &&
        rows.slice(column).every((other) => Math.abs(row[column]!) >= Math.abs(other[column]!)),
    )
    const swapped = rows[column]!
    rows[column] = rows[pivot]!
    rows[pivot] = swapped
    for (let i = column + 1; i < n; i++) {
      const factor = rows[i]![column]! / rows[column]![column]!
      for (let j = column; j <= n; j++) rows[i]![j]! -= factor * rows[column]![j]!
    }
  }
  const out = new Array<number>(n).fill(0)
  for (let i = n - 1; i >= 0; i--) {
    const known = out.reduce((total, value, j) => total + value * rows[i]![j]!, 0)
    out[i] = (rows[i]![n]! - known) / rows[i]![i]!
  }
  return out
}
