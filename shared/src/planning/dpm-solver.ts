import { type Level, lambdaOf } from './levels.ts'
import type { Row } from './plan.ts'
import { rowOf, type Step, stepsBetween, type X0Options } from './row.ts'

export interface DpmSolverOptions extends X0Options {
  /** Order of the multistep solver: 1 is DDIM with η = 0, 2 the paper's 2M. */
  readonly order: 1 | 2 | 3
  /** How order 2 weighs the derivative: DPM-Solver++ as published ('midpoint'), or by its exact integral ('heun'). */
  readonly solver: 'midpoint' | 'heun'
  /**
   * How order 3 weighs the second derivative: by its exact integral, or by half of that, as the authors' code and
   * diffusers have it, which then converges with order 2.
   */
  readonly curvature: 'exact' | 'half'
  /** The last steps in lower order where there are fewer than 15 steps, which steadies them. */
  readonly lowerOrderFinal: boolean
  /** The last step in first order. */
  readonly eulerAtFinal: boolean
}

/** The order of a step: it rises as earlier x_0 come in, and is 1 where the step leads to the clean picture. */
function orderAt(levels: readonly Level[], index: number, options: DpmSolverOptions): number {
  const steps = levels.length - 1
  const steadied = options.lowerOrderFinal && steps < 15
  const last = index === steps - 1
  if (last && (options.eulerAtFinal || steadied || levels[steps]!.alphaBar === 1)) return 1
  const most = index === steps - 2 && steadied ? Math.min(options.order, 2) : options.order
  return Math.min(most, index + 1)
}

/** How much of D_0 (x_0), D_1 and D_2 (h·x_0' and h²·x_0''/2, derivatives in λ) a step takes. */
type Weights = readonly [number, number, number]

/**
 * Turns weights of derivatives into weights of the latest x_0 and the ones before:
 * D_1 = (h/h_0)(x_0 − x_0₋₁) in order 2; in order 3 both derivatives of the parabola through the last three.
 */
function onHistory(
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
  const bend = (w1 * r0 + w2) / (r0 + r1)
  const first = (w1 + bend) / r0
  const second = -bend / r1
  return { b: w0 + first, c: [second - first, -second] }
}

/**
 * DPM-Solver++, multistep (Lu et al. 2022, algorithm 2; order 3 after their code): the probability-flow ODE
 * in λ with x_0 for its data, x_t = (σ_t/σ_s)·x + α_t·Σ_n w_n·D_n, w_n the integrals of e^{λ−λ_t}(λ−λ_s)ⁿ/hⁿ.
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
 * SDE-DPM-Solver++, multistep of order 1 and 2 (Lu et al. 2022, section 5): the reverse SDE, as noisy as DDPM. Order 1
 * is DDIM with η = 1.
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
  /** Of the level that the step leads to. */
  readonly alpha: number
  readonly sigma: number
  /** λ_t − λ_s. */
  readonly h: number
}

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
    return rowOf(from, to, options, { a, d, ...onHistory(weights, order, widths) })
  })
}
