import type { Level } from '../planning/levels.ts'
import type { Plan, Row } from '../planning/plan.ts'
import { planLevels, type SamplerOptions } from '../planning/samplers.ts'
import { domains } from '../random/random.ts'
import { fillNoise } from './loop.ts'

/** How RePaint goes back and forth, so that what it draws agrees with what it keeps. */
export interface Jumps {
  /** How many levels it jumps back at once. */
  readonly jump: number
  /** How often it draws each stretch, 1 for no jumps. */
  readonly resample: number
}

/** Fewer than the 10 and 10 of the paper, which has 250 steps. */
export const defaultJumps: Jumps = { jump: 5, resample: 4 }

/**
 * RePaint's path (Lugmayr et al. 2022, algorithm 1 and appendix B): a sampler's plans between jump points, put
 * together with rows that add noise again, x ← √(ᾱ'/ᾱ)·x + √(1−ᾱ'/ᾱ)·z.
 * @param levels of the sampler, from noisy to clean, the end included
 */
export function planRepaint(
  levels: readonly Level[],
  options: SamplerOptions,
  { jump, resample }: Jumps,
): Plan {
  const steps = levels.length - 1
  const rows: Row[] = []
  const draw = (from: number, to: number) => {
    if (to > from) rows.push(...planLevels(levels.slice(from, to + 1), options).rows)
  }
  let at = 0
  for (let point = jump; point < steps; point++) {
    // Jump points lie whole jumps before the last level that is not the end.
    if ((steps - 1 - point) % jump !== 0) continue
    draw(at, point)
    at = point
    for (let again = 1; again < resample; again++) {
      rows.push(noising(levels[point]!, levels[point - jump]!))
      draw(point - jump, point)
    }
  }
  draw(at, steps)
  return { name: `${planLevels(levels, options).name}, repainted ${resample}×${jump}`, start: 1, rows }
}

function noising(from: Level, to: Level): Row {
  const kept = to.alphaBar / from.alphaBar
  return {
    t: null,
    alphaBar: from.alphaBar,
    alphaBarNext: to.alphaBar,
    p: 0,
    q: 0,
    clamp: null,
    a: Math.sqrt(kept),
    b: 0,
    c: [],
    d: Math.sqrt(1 - kept),
    e: 0,
  }
}

/**
 * What a row's x is mended with (algorithm 1, line 8): where the mask is 0, the picture itself at the row's level.
 * @param picture [count, size], in [−1, 1]
 * @param mask [count, size]: 1 where something new is drawn, 0 where the picture stays
 */
export function keepUnmasked(
  image: Float32Array,
  mask: Float32Array,
  { seed, indices }: { seed: number; indices: readonly number[] },
): (x: Float32Array, row: Row, index: number) => void {
  const noise = new Float32Array(image.length)
  return (x, { alphaBarNext }, index) => {
    const [signal, deviation] = [Math.sqrt(alphaBarNext), Math.sqrt(1 - alphaBarNext)]
    if (deviation > 0) fillNoise(seed, indices, index, noise, domains.inpainting)
    for (let i = 0; i < x.length; i++) {
      const known = signal * image[i]! + deviation * noise[i]!
      x[i] = mask[i]! * x[i]! + (1 - mask[i]!) * known
    }
  }
}
