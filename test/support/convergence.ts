import { defaultSampling, type Level, planLevels, type Row, type SamplerOptions } from '@ddpm/shared'
import { exactLoop } from './float64-loop.ts'
import { exactFlow, lambdaLevels, optimalX0, type Part } from './mixture.ts'

/** A sampler, with the order of accuracy that its paper claims. */
export interface Claim {
  readonly name: string
  readonly order: number
  readonly options: Partial<SamplerOptions>
}

/** Free of everything that is there to steady few steps: no clamp, no lower order at the end. */
const bare: SamplerOptions = {
  ...defaultSampling,
  steps: 1,
  predictionType: 'x0',
  clamp: null,
  lowerOrderFinal: false,
}

/** Those that follow the probability-flow ODE: the error is that of x at the end. */
export const flows: readonly Claim[] = [
  { name: 'DDIM, η = 0', order: 1, options: { sampler: 'ddim' } },
  { name: 'Euler', order: 1, options: { sampler: 'euler' } },
  { name: 'Heun', order: 2, options: { sampler: 'heun' } },
  { name: 'DPM-Solver++, order 2', order: 2, options: { sampler: 'dpmpp', order: 2 } },
  { name: '… with the exact integral', order: 2, options: { sampler: 'dpmpp', order: 2, solver: 'heun' } },
  { name: 'DPM-Solver++, order 3', order: 3, options: { sampler: 'dpmpp', order: 3 } },
  { name: '… as in its code', order: 2, options: { sampler: 'dpmpp', order: 3, curvature: 'half' } },
  { name: 'UniPC, order 1', order: 2, options: { sampler: 'unipc', order: 1 } },
  { name: 'UniPC, order 2', order: 3, options: { sampler: 'unipc', order: 2 } },
  { name: '… with B(h) = h', order: 3, options: { sampler: 'unipc', order: 2, variant: 'bh1' } },
  { name: 'UniPC, order 3', order: 4, options: { sampler: 'unipc', order: 3 } },
]

/** Those that add noise: the error is that of the distribution at the end, its mean and its deviation. */
export const diffusions: readonly Claim[] = [
  { name: 'DDPM, fixedSmall', order: 1, options: { sampler: 'ddpm' } },
  { name: 'DDPM, fixedLarge', order: 1, options: { sampler: 'ddpm', varianceType: 'fixedLarge' } },
  { name: 'DDIM, η = ½', order: 1, options: { sampler: 'ddim', eta: 0.5 } },
  { name: 'DDIM, η = 1', order: 1, options: { sampler: 'ddim', eta: 1 } },
  { name: 'DDIM, σ̂', order: 1, options: { sampler: 'ddim', eta: 'hat' } },
  { name: 'SDE-DPM-Solver++, order 1', order: 1, options: { sampler: 'sde-dpmpp', order: 1 } },
  { name: 'SDE-DPM-Solver++, order 2', order: 2, options: { sampler: 'sde-dpmpp', order: 2 } },
]

/** Where λ begins and ends: nearly pure noise, nearly clean. */
const [lambdaFrom, lambdaTo] = [-5, 2]
const two: readonly Part[] = [
  { weight: 0.35, mean: -0.8, deviation: 0.35 },
  { weight: 0.65, mean: 0.6, deviation: 0.25 },
]

/** Root mean square of x − exact x over starting points in the middle of the distribution. */
function flowError(options: Partial<SamplerOptions>, steps: number): number {
  const levels = lambdaLevels(lambdaFrom, lambdaTo, steps)
  const { rows } = planLevels(levels, { ...bare, ...options })
  const starts = Array.from({ length: 21 }, (_, i) => (i - 10) / 5)
  const squares = starts.map((start) => {
    const network = (x: number, t: number) => optimalX0(two, x, levels[t]!.alphaBar)
    const found = exactLoop({ rows }, network, start).at(-1)!
    return (found - exactFlow(two, start, levels[0]!.alphaBar, levels[steps]!.alphaBar)) ** 2
  })
  return Math.sqrt(squares.reduce((sum, value) => sum + value) / starts.length)
}

const bell: Part = { weight: 1, mean: 0.5, deviation: 0.4 }

/**
 * Mean and deviation at the end against the exact ones. For normal data the best network is affine, so that mean and
 * covariance of x and of the earlier x_0's can be carried through the rows exactly, without drawing anything.
 */
function diffusionError(options: Partial<SamplerOptions>, steps: number): number {
  const levels = lambdaLevels(lambdaFrom, lambdaTo, steps)
  const { rows } = planLevels(levels, { ...bare, ...options })
  const exact = ({ alphaBar }: Level) => ({
    mean: Math.sqrt(alphaBar) * bell.mean,
    variance: alphaBar * bell.deviation ** 2 + 1 - alphaBar,
  })
  const { mean, variance } = momentsAfter(rows, levels, exact(levels[0]!))
  const wanted = exact(levels[steps]!)
  return Math.hypot(mean - wanted.mean, Math.sqrt(variance) - Math.sqrt(wanted.variance))
}

interface Moments {
  readonly mean: number
  readonly variance: number
}

/** Mean and variance of x after rows that look back at most once. */
function momentsAfter(rows: readonly Row[], levels: readonly Level[], start: Moments): Moments {
  // Of x and of the x_0 before: means, and their covariances.
  let [mean, before] = [start.mean, 0]
  let [xx, xo, oo] = [start.variance, 0, 0]
  for (const { t, a, b, c, d, e } of rows) {
    const { alphaBar } = levels[t!]!
    const at0 = optimalX0([bell], 0, alphaBar)
    const k = optimalX0([bell], 1, alphaBar) - at0
    // x_0 = k·x + at0 is the network's output as well.
    const slope = a + (b + e) * k
    const back = c[0] ?? 0
    const nextMean = slope * mean + (b + e) * at0 + back * before
    const nextXx = slope ** 2 * xx + 2 * slope * back * xo + back ** 2 * oo + (d as number) ** 2
    ;[before, xo, oo] = [k * mean + at0, k * (slope * xx + back * xo), k ** 2 * xx]
    ;[mean, xx] = [nextMean, nextXx]
  }
  return { mean, variance: xx }
}

export interface Convergence extends Claim {
  /** One error for each number of steps asked for. */
  readonly errors: readonly number[]
  /** log₂ of the ratio of the last two: the order that shows where steps double. */
  readonly found: number
}

/** Errors and orders of every sampler against exact solutions. */
export function measureConvergence(steps: readonly number[]): {
  flows: Convergence[]
  diffusions: Convergence[]
} {
  const measure =
    (error: (options: Partial<SamplerOptions>, steps: number) => number) =>
    (claim: Claim): Convergence => {
      const errors = steps.map((count) => error(claim.options, count))
      const [last, beforeLast] = [errors.at(-1)!, errors.at(-2)!]
      return {
        ...claim,
        errors,
        found: Math.log(beforeLast / last) / Math.log(steps.at(-1)! / steps.at(-2)!),
      }
    }
  return { flows: flows.map(measure(flowError)), diffusions: diffusions.map(measure(diffusionError)) }
}
