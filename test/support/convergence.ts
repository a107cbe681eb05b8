import { defaultSampling, type Level, planLevels, type Row, type SamplerOptions } from '@ddpm/shared'
import { exactLoop } from './float64-loop.ts'
import { type Component, exactFlow, lambdaLevels, optimalX0 } from './mixture.ts'

/** A sampler and its order of accuracy according to its paper. */
export interface Claim {
  readonly name: string
  readonly order: number
  readonly options: Partial<SamplerOptions>
}

/** Options without the features that stabilize sampling with few steps: no clamping, no lower order at the end. */
const baseOptions: SamplerOptions = {
  ...defaultSampling,
  steps: 1,
  predictionType: 'x0',
  clamp: null,
  lowerOrderFinal: false,
}

/** Samplers of the probability-flow ODE. Their error is measured on the final x. */
export const flows: readonly Claim[] = [
  { name: 'DDIM, η = 0', order: 1, options: { sampler: 'ddim' } },
  { name: 'Euler', order: 1, options: { sampler: 'euler' } },
  { name: 'Heun', order: 2, options: { sampler: 'heun' } },
  { name: 'DPM-Solver++, order 2', order: 2, options: { sampler: 'dpmpp', order: 2 } },
  { name: '… with the exact integral', order: 2, options: { sampler: 'dpmpp', order: 2, solver: 'heun' } },
  { name: 'DPM-Solver++, order 3', order: 3, options: { sampler: 'dpmpp', order: 3 } },
  { name: "… as in its authors' code", order: 2, options: { sampler: 'dpmpp', order: 3, curvature: 'half' } },
  { name: 'UniPC, order 1', order: 2, options: { sampler: 'unipc', order: 1 } },
  { name: 'UniPC, order 2', order: 3, options: { sampler: 'unipc', order: 2 } },
  { name: '… with B(h) = h', order: 3, options: { sampler: 'unipc', order: 2, variant: 'bh1' } },
  { name: 'UniPC, order 3', order: 4, options: { sampler: 'unipc', order: 3 } },
]

/** Samplers that add noise. Their error is measured on the mean and the standard deviation of the final x. */
export const diffusions: readonly Claim[] = [
  { name: 'DDPM, fixedSmall', order: 1, options: { sampler: 'ddpm' } },
  { name: 'DDPM, fixedLarge', order: 1, options: { sampler: 'ddpm', varianceType: 'fixedLarge' } },
  { name: 'DDIM, η = ½', order: 1, options: { sampler: 'ddim', eta: 0.5 } },
  { name: 'DDIM, η = 1', order: 1, options: { sampler: 'ddim', eta: 1 } },
  { name: 'DDIM, σ̂', order: 1, options: { sampler: 'ddim', eta: 'hat' } },
  { name: 'SDE-DPM-Solver++, order 1', order: 1, options: { sampler: 'sde-dpmpp', order: 1 } },
  { name: 'SDE-DPM-Solver++, order 2', order: 2, options: { sampler: 'sde-dpmpp', order: 2 } },
]

/** Range of λ: from nearly pure noise to nearly clean. */
const [lambdaFrom, lambdaTo] = [-5, 2]
const mixture: readonly Component[] = [
  { weight: 0.35, mean: -0.8, deviation: 0.35 },
  { weight: 0.65, mean: 0.6, deviation: 0.25 },
]

/** Returns the root mean square error of the final x for starting points from −2 to 2. */
function flowError(options: Partial<SamplerOptions>, steps: number): number {
  const levels = lambdaLevels(lambdaFrom, lambdaTo, steps)
  const { rows } = planLevels(levels, { ...baseOptions, ...options })
  const starts = Array.from({ length: 21 }, (_, i) => (i - 10) / 5)
  const squares = starts.map((start) => {
    const model = (x: number, t: number) => optimalX0(mixture, x, levels[t]!.alphaBar)
    const actual = exactLoop({ rows }, model, start).at(-1)!
    return (actual - exactFlow(mixture, start, levels[0]!.alphaBar, levels[steps]!.alphaBar)) ** 2
  })
  return Math.sqrt(squares.reduce((sum, value) => sum + value) / starts.length)
}

const gaussian: Component = { weight: 1, mean: 0.5, deviation: 0.4 }

/**
 * Returns the error of the final mean and standard deviation. For normal data the optimal model is affine, so the
 * moments of x and of earlier x_0 can be propagated through the rows exactly, without sampling.
 */
function diffusionError(options: Partial<SamplerOptions>, steps: number): number {
  const levels = lambdaLevels(lambdaFrom, lambdaTo, steps)
  const { rows } = planLevels(levels, { ...baseOptions, ...options })
  const exact = ({ alphaBar }: Level) => ({
    mean: Math.sqrt(alphaBar) * gaussian.mean,
    variance: alphaBar * gaussian.deviation ** 2 + 1 - alphaBar,
  })
  const { mean, variance } = momentsAfter(rows, levels, exact(levels[0]!))
  const expected = exact(levels[steps]!)
  return Math.hypot(mean - expected.mean, Math.sqrt(variance) - Math.sqrt(expected.variance))
}

interface Moments {
  readonly mean: number
  readonly variance: number
}

/** Returns mean and variance of x after rows that use at most one earlier x_0. */
function momentsAfter(rows: readonly Row[], levels: readonly Level[], start: Moments): Moments {
  // Means and covariances of x and of the previous x_0. The names contain x for x and o for the previous x_0.
  let [mean, previousMean] = [start.mean, 0]
  let [xx, xo, oo] = [start.variance, 0, 0]
  for (const { t, a, b, c, d, e } of rows) {
    const { alphaBar } = levels[t!]!
    const offset = optimalX0([gaussian], 0, alphaBar)
    const k = optimalX0([gaussian], 1, alphaBar) - offset
    // x_0 = k·x + offset, which is also the model's output.
    const slope = a + (b + e) * k
    const c1 = c[0] ?? 0
    const nextMean = slope * mean + (b + e) * offset + c1 * previousMean
    const nextXx = slope ** 2 * xx + 2 * slope * c1 * xo + c1 ** 2 * oo + (d as number) ** 2
    ;[previousMean, xo, oo] = [k * mean + offset, k * (slope * xx + c1 * xo), k ** 2 * xx]
    ;[mean, xx] = [nextMean, nextXx]
  }
  return { mean, variance: xx }
}

export interface Convergence extends Claim {
  /** One error per number of steps. */
  readonly errors: readonly number[]
  /** Order measured from the last two errors: log(error ratio)/log(step ratio). */
  readonly measuredOrder: number
}

/** Measures errors and orders of all samplers against exact solutions. */
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
        measuredOrder: Math.log(beforeLast / last) / Math.log(steps.at(-1)! / steps.at(-2)!),
      }
    }
  return { flows: flows.map(measure(flowError)), diffusions: diffusions.map(measure(diffusionError)) }
}
