import { type Level, lambdaOf } from './levels.ts'
import type { Row } from './plan.ts'
import { createRow, type Step, stepsBetween, type X0Options } from './row.ts'

export interface DpmSolverOptions extends X0Options {
  /** Order of the multistep solver: 1 is DDIM with η = 0, 2 is the paper's 2M. */
  readonly order: 1 | 2 | 3
  /** Weight of the first derivative in order 2: as published ('midpoint'), or its exact integral ('heun'). */
  readonly solver: 'midpoint' | 'heun'
  /**
   * Weight of the second derivative in order 3: its exact integral, or half of that, as in the authors' code and in
   * diffusers. With 'half' the order of convergence is only 2.
   */
  readonly curvature: 'exact' | 'half'
  /** Lowers the order of the last steps for stability, if there are fewer than 15 steps. */
  readonly lowerOrderFinal: boolean
  /** Uses order 1 for the last step. */
  readonly eulerAtFinal: boolean
}

/**
 * Plans DPM-Solver++, multistep (Lu et al. 2022, algorithm 2; order 3 as in their code). It solves the probability-flow
 * ODE in λ with data prediction: x_t = (σ_t/σ_s)·x + α_t·Σ_n w_n·D_n, where w_n are the integrals of
 * e^{λ−λ_t}(λ−λ_s)ⁿ/hⁿ.
 */
export function dpmSolver(levels: readonly Level[], options: DpmSolverOptions): Row[] {
  return plan(levels, options, ({ sigmaRatio, alpha, h }, order) => {
    const gain = -Math.expm1(-h)
    const first = h === 0 ? 0 : 1 - gain / h
    const half = h === 0 ? 0 : 0.5 - (h - gain) / h ** 2
    const second = options.curvature === 'half' ? half : 2 * half
    const midpoint = order === 2 && options.solver === 'midpoint'
    return {
      a: sigmaRatio,
      d: 0,
      weights: [alpha * gain, alpha * (midpoint ? gain / 2 : first), alpha * second],
    }
  })
}

/**
 * Plans SDE-DPM-Solver++, multistep of order 1 or 2 (Lu et al. 2022, section 5). It solves the reverse SDE. It adds as much
 * noise as DDPM; order 1 is DDIM with η = 1.
 */
export function sdeDpmSolver(levels: readonly Level[], options: DpmSolverOptions): Row[] {
  return plan(levels, options, ({ sigmaRatio, sigma, alpha, h }) => {
    const gain = -Math.expm1(-2 * h)
    const first = h === 0 ? 0 : 1 - gain / (2 * h)
    return {
      a: sigmaRatio * Math.exp(-h),
      d: sigma * Math.sqrt(gain),
      weights: [alpha * gain, alpha * (options.solver === 'midpoint' ? gain / 2 : first), 0],
    }
  })
}

interface Interval {
  /** σ_t/σ_s. */
  readonly sigmaRatio: number
  /** √ᾱ and √(1−ᾱ) of the level that the step leads to. */
  readonly alpha: number
  readonly sigma: number
  /** λ_t − λ_s, where the step leads from level s to level t. */
  readonly h: number
}

/** Weights of D_0 = x_0, D_1 = h·x_0' and D_2 = h²·x_0''/2 in a step. The derivatives are with respect to λ. */
type Weights = readonly [number, number, number]

function plan(
  levels: readonly Level[],
  options: DpmSolverOptions,
  solve: (interval: Interval, order: number) => { a: number; d: number; weights: Weights },
): Row[] {
  const lambdas = levels.map(({ alphaBar }) => lambdaOf(alphaBar))
  return stepsBetween(levels).map(({ from, to, index }) => {
    const order = orderAt(levels, index, options)
    const sigma = Math.sqrt(1 - to.alphaBar)
    const widths = [0, 1, 2].map((back) => lambdas[index + 1 - back]! - lambdas[index - back]!)
    const { a, d, weights } = solve(
      {
        sigmaRatio: sigma / Math.sqrt(1 - from.alphaBar),
        alpha: Math.sqrt(to.alphaBar),
        sigma,
        h: widths[0]!,
      },
      order,
    )
    return createRow(from, to, options, { a, d, ...toHistoryWeights(weights, order, widths) })
  })
}

/** Returns the order of a step. The number of earlier x_0 limits it. A step to the clean image has order 1. */
function orderAt(levels: readonly Level[], index: number, options: DpmSolverOptions): number {
  const steps = levels.length - 1
  const lowersFinal = options.lowerOrderFinal && steps < 15
  const isLast = index === steps - 1
  if (isLast && (options.eulerAtFinal || lowersFinal || levels[steps]!.alphaBar === 1)) return 1
  const maxOrder = index === steps - 2 && lowersFinal ? Math.min(options.order, 2) : options.order
  return Math.min(maxOrder, index + 1)
}

/**
 * Converts weights of derivatives to weights of the latest x_0 (b) and of earlier ones (c). Order 2 uses
 * D_1 = (h/h_0)(x_0 − x_0₋₁); order 3 uses both derivatives of the parabola through the last three x_0.
 */
function toHistoryWeights(
  [w0, w1, w2]: Weights,
  order: number,
  [h, h0, h1]: readonly number[],
): Pick<Step, 'b' | 'c'> {
  if (order === 1 || h === 0) return { b: w0 }
  const slope = h! / h0!
  if (order === 2) return { b: w0 + w1 * slope, c: [-w1 * slope] }
  const r0 = h0! / h!
  const r1 = h1! / h!
  // D1_0 = (m0 − m1)/r0, D1_1 = (m1 − m2)/r1; D1 = D1_0 + r0/(r0+r1)·(D1_0 − D1_1); D2 = (D1_0 − D1_1)/(r0+r1)
  const curvature = (w1 * r0 + w2) / (r0 + r1)
  const first = (w1 + curvature) / r0
  const second = -curvature / r1
  return { b: w0 + first, c: [second - first, -second] }
}
