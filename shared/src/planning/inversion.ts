import { epsilonWeights } from '../diffusion/process.ts'
import type { Level } from './levels.ts'
import type { Plan } from './plan.ts'
import type { X0Options } from './row.ts'

/**
 * DDIM run backwards, from a picture to the noise that leads to it (DDIM section 4.3): each row climbs to the next
 * noisier level with the ε that the network sees there, so that sampling by DDIM with η = 0 over the same levels,
 * unclamped, leads back but for how much ε changes within one step.
 * @param levels of the sampler, from noisy to clean, the end included
 */
export function planInversion(levels: readonly Level[], { predictionType, clamp }: X0Options): Plan {
  const rising = [...levels].reverse()
  const rows = rising.slice(0, -1).map((from, i) => {
    const to = rising[i + 1]!
    // ε = r·x + s·output as the network reads x: it is told the timestep of the level to come.
    const [r, s] = epsilonWeights(predictionType, to.alphaBar)
    const [alpha, sigma] = [Math.sqrt(from.alphaBar), Math.sqrt(1 - from.alphaBar)]
    const deviation = Math.sqrt(1 - to.alphaBar)
    return {
      t: to.t,
      alphaBar: from.alphaBar,
      alphaBarNext: to.alphaBar,
      p: (1 - sigma * r) / alpha,
      q: (-sigma * s) / alpha,
      clamp,
      a: deviation * r,
      b: Math.sqrt(to.alphaBar),
      c: [],
      d: 0,
      e: deviation * s,
    }
  })
  return { name: 'ddim inversion', start: 1, rows }
}
