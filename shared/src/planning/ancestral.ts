import { epsilonWeights, qPosterior, type VarianceType } from '../diffusion/process.ts'
import type { Level } from './levels.ts'
import type { Row } from './plan.ts'
import { createRow, stepsBetween, type X0Options } from './row.ts'

export interface DdpmOptions extends X0Options {
  readonly varianceType: VarianceType
}

/**
 * Plans ancestral sampling, DDPM algorithm 2 expressed with x_0: the posterior mean of eq. 7 plus σ·z. The last step, which
 * leads to the clean image, adds no noise. For a subset of the timesteps, β is that of the shorter chain, 1 − ᾱ/ᾱ_prev
 * (Improved DDPM, section 4).
 */
export function ddpm(levels: readonly Level[], options: DdpmOptions): Row[] {
  return stepsBetween(levels).map(({ from, to }) => {
    const alpha = from.alphaBar / to.alphaBar
    const beta = 1 - alpha
    const { x0Weight, xtWeight, variance } = qPosterior({
      alpha,
      beta,
      alphaBar: from.alphaBar,
      alphaBarPrev: to.alphaBar,
    })
    const noise = {
      fixedSmall: Math.sqrt(variance),
      fixedLarge: Math.sqrt(beta),
      learnedRange: [Math.log(Math.max(variance, 1e-20)), Math.log(beta)],
    } as const
    return createRow(from, to, options, {
      a: xtWeight,
      b: x0Weight,
      d: to.alphaBar === 1 ? 0 : noise[options.varianceType],
    })
  })
}

export interface DdimOptions extends X0Options {
  /**
   * 0 is deterministic; 1 has the variance of DDPM (DDIM eq. 16). 'hat' combines the mean of η = 1 with the larger
   * deviation σ̂ (section 5).
   */
  readonly eta: number | 'hat'
  /**
   * How ε is computed if x_0 is clamped: 'rederived' computes it from the clamped x_0 (as in guided-diffusion), 'raw' uses
   * the model's prediction (the default of diffusers). Both are equal if x_0 is not clamped.
   */
  readonly epsilon: 'rederived' | 'raw'
}

/** Plans DDIM, eq. 12 and 16: √ᾱ_prev·x_0 + √(1−ᾱ_prev−σ²)·ε + σ·z. */
export function ddim(levels: readonly Level[], options: DdimOptions): Row[] {
  const { predictionType, epsilon } = options
  return stepsBetween(levels).map(({ from, to }) => {
    const eta = options.eta === 'hat' ? 1 : options.eta
    const sigmaHat = Math.sqrt(Math.max(1 - from.alphaBar / to.alphaBar, 0))
    const sigma = eta * Math.sqrt((1 - to.alphaBar) / (1 - from.alphaBar)) * sigmaHat
    const epsilonScale = Math.sqrt(Math.max(1 - to.alphaBar - sigma ** 2, 0))
    const d = options.eta === 'hat' ? (to.alphaBar === 1 ? 0 : sigmaHat) : sigma
    if (epsilon === 'raw') {
      const [r, s] = epsilonWeights(predictionType, from.alphaBar)
      return createRow(from, to, options, {
        a: epsilonScale * r,
        b: Math.sqrt(to.alphaBar),
        d,
        e: epsilonScale * s,
      })
    }
    // ε = (x − √ᾱ·x_0)/√(1−ᾱ)
    const a = epsilonScale / Math.sqrt(1 - from.alphaBar)
    return createRow(from, to, options, {
      a,
      b: Math.sqrt(to.alphaBar) - a * Math.sqrt(from.alphaBar),
      d,
    })
  })
}
