import { epsilonWeights } from '../diffusion/process.ts'
import type { Level } from './levels.ts'
import type { Row } from './plan.ts'
import { rowOf, stepsBetween, type X0Options } from './row.ts'

export interface DdpmOptions extends X0Options {
  /**
   * σ² is the posterior's β̃ ('fixedSmall'), β ('fixedLarge'), DDPM section 3.2, or lies between them as the network
   * says in the second half of its channels ('learnedRange', Nichol & Dhariwal 2021, eq. 15).
   */
  readonly varianceType: 'fixedSmall' | 'fixedLarge' | 'learnedRange'
}

/**
 * Ancestral sampling, DDPM algorithm 2 through x_0: the posterior mean of eq. 7 and σ·z, no noise in the step to the clean picture.
 * On a subset of the timesteps β is that of the retained chain, 1 − ᾱ/ᾱ_prev (Improved DDPM, section 4).
 */
export function ddpm(levels: readonly Level[], options: DdpmOptions): Row[] {
  return stepsBetween(levels).map(({ from, to }) => {
    const alpha = from.alphaBar / to.alphaBar
    const beta = 1 - alpha
    const posteriorVariance = (beta * (1 - to.alphaBar)) / (1 - from.alphaBar)
    const deviations = {
      fixedSmall: Math.sqrt(posteriorVariance),
      fixedLarge: Math.sqrt(beta),
      learnedRange: [Math.log(Math.max(posteriorVariance, 1e-20)), Math.log(beta)],
    } as const
    return rowOf(from, to, options, {
      a: ((1 - to.alphaBar) * Math.sqrt(alpha)) / (1 - from.alphaBar),
      b: (beta * Math.sqrt(to.alphaBar)) / (1 - from.alphaBar),
      d: to.alphaBar === 1 ? 0 : deviations[options.varianceType],
    })
  })
}

export interface DdimOptions extends X0Options {
  /** 0 is deterministic, 1 has DDPM's variance (DDIM eq. 16); 'hat' adds the larger σ̂ to the mean of 1 (section 5). */
  readonly eta: number | 'hat'
  /**
   * Where ε comes from once x_0 has been clamped: 'rederived' from the clamped x_0 (as in guided-diffusion), or 'raw',
   * the network's own (as in diffusers' default). They agree where no clamp bites.
   */
  readonly epsilon: 'rederived' | 'raw'
}

/** DDIM eq. 12 and 16: √ᾱ_prev·x_0 + √(1−ᾱ_prev−σ²)·ε + σ·z. */
export function ddim(levels: readonly Level[], options: DdimOptions): Row[] {
  const { predictionType, epsilon } = options
  return stepsBetween(levels).map(({ from, to }) => {
    const eta = options.eta === 'hat' ? 1 : options.eta
    const hat = Math.sqrt(Math.max(1 - from.alphaBar / to.alphaBar, 0))
    const sigma = eta * Math.sqrt((1 - to.alphaBar) / (1 - from.alphaBar)) * hat
    const direction = Math.sqrt(Math.max(1 - to.alphaBar - sigma ** 2, 0))
    const d = options.eta === 'hat' ? (to.alphaBar === 1 ? 0 : hat) : sigma
    if (epsilon === 'raw') {
      const [r, s] = epsilonWeights(predictionType, from.alphaBar)
      return rowOf(from, to, options, {
        a: direction * r,
        b: Math.sqrt(to.alphaBar),
        d,
        e: direction * s,
      })
    }
    // ε = (x − √ᾱ·x_0)/√(1−ᾱ)
    const share = direction / Math.sqrt(1 - from.alphaBar)
    return rowOf(from, to, options, {
      a: share,
      b: Math.sqrt(to.alphaBar) - share * Math.sqrt(from.alphaBar),
      d,
    })
  })
}
