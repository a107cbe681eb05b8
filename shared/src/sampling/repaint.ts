import { qSample } from '../diffusion/process.ts'
import type { Level } from '../planning/levels.ts'
import type { Plan, Row } from '../planning/plan.ts'
import { planLevels, type SamplerOptions } from '../planning/samplers.ts'
import { domains } from '../random/random.ts'
import { fillNoise } from './loop.ts'

/** RePaint's jumps back to noisier levels. They make the generated area consistent with the retained area. */
export interface Jumps {
  /** Number of levels per jump. */
  readonly jump: number
  /** How often each group of `jump` steps is sampled. 1: no jumps. */
  readonly resample: number
}

/** Default jumps. The paper uses 10 and 10 with 250 steps; these values suit fewer steps. */
export const defaultJumps: Jumps = { jump: 5, resample: 4 }

/**
 * Plans RePaint (Lugmayr et al. 2022, algorithm 1 and appendix B): a sampler's rows between the jump points, combined
 * with rows that add noise again, x ← √(ᾱ'/ᾱ)·x + √(1−ᾱ'/ᾱ)·z.
 * @param levels the sampler's levels, from noisy to clean, including the end
 */
export function planRepaint(
  levels: readonly Level[],
  options: SamplerOptions,
  { jump, resample }: Jumps,
): Plan {
  const steps = levels.length - 1
  const rows: Row[] = []
  const denoise = (from: number, to: number) => {
    if (to > from) rows.push(...planLevels(levels.slice(from, to + 1), options).rows)
  }
  let current = 0
  for (let point = jump; point < steps; point++) {
    // The last jump point is the last level before the end. The others precede it by multiples of `jump` levels.
    if ((steps - 1 - point) % jump !== 0) continue
    denoise(current, point)
    current = point
    for (let repetition = 1; repetition < resample; repetition++) {
      rows.push(noisingRow(levels[point]!, levels[point - jump]!))
      denoise(point - jump, point)
    }
  }
  denoise(current, steps)
  return { name: `${planLevels(levels, options).name}, RePaint ${resample}×${jump}`, start: 1, rows }
}

function noisingRow(from: Level, to: Level): Row {
  const ratio = to.alphaBar / from.alphaBar
  return {
    t: null,
    alphaBar: from.alphaBar,
    alphaBarNext: to.alphaBar,
    p: 0,
    q: 0,
    clamp: null,
    a: Math.sqrt(ratio),
    b: 0,
    c: [],
    d: Math.sqrt(1 - ratio),
    e: 0,
  }
}

/**
 * Returns the `afterRow` callback of RePaint (algorithm 1, line 8). Where the mask is 0, it replaces x by the image, noised
 * to the row's noise level.
 * @param image [count, size], in [−1, 1]
 * @param mask [count, size]: 1 where the image is generated, 0 where it is retained
 */
export function restoreUnmasked(
  image: Float32Array,
  mask: Float32Array,
  { seed, indices }: { seed: number; indices: readonly number[] },
): (x: Float32Array, row: Row, index: number) => void {
  const noise = new Float32Array(image.length)
  // Float64, so that the blend is rounded to float32 only once.
  const known = new Float64Array(image.length)
  return (x, { alphaBarNext }, index) => {
    if (alphaBarNext < 1) fillNoise(seed, indices, index, noise, domains.inpainting)
    qSample(alphaBarNext, image, noise, known)
    for (let i = 0; i < x.length; i++) x[i] = mask[i]! * x[i]! + (1 - mask[i]!) * known[i]!
  }
}
