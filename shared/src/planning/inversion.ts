import { epsilonWeights } from '../diffusion/process.ts'
import type { Level } from './levels.ts'
import type { Plan } from './plan.ts'
import type { X0Options } from './row.ts'

/**
 * Plans DDIM inversion, from an image to the noise that DDIM maps to it (DDIM section 4.3). Each row leads to the next
 * noisier level and uses the ε predicted at the timestep of that level. DDIM with η = 0 over the same levels, without
 * clamping, then reproduces the image up to the change of ε within a step.
 * @param levels the sampler's levels, from noisy to clean, including the end
 */
export function planInversion(levels: readonly Level[], { predictionType, clamp }: X0Options): Plan {
  const cleanToNoisy = [...levels].reverse()
  const rows = cleanToNoisy.slice(0, -1).map((from, i) => {
    const to = cleanToNoisy[i + 1]!
    // ε = r·x + s·output. The model receives the timestep of the next level together with the current x.
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
