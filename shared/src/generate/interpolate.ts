import { fillNoise } from '../sampling/loop.ts'
import type { ModelInfo } from './generate.ts'

/**
 * The noise that a picture of a seed starts from.
 * @param index which picture of the seed
 * @returns [channels, height, width], standard normal
 */
export function startNoise({ shape }: Pick<ModelInfo, 'shape'>, seed: number, index = 0): Float32Array {
  const noise = new Float32Array(shape.channels * shape.height * shape.width)
  fillNoise(seed, [index], 0, noise)
  return noise
}

/**
 * Spherical interpolation between two pictures of noise (Shoemake 1985): it keeps their length, which for noise in
 * many dimensions is nearly always √size, where a straight line between them would cut across a region that the
 * network has never seen.
 * @param a, b [size]
 * @param fraction 0 gives a, 1 gives b
 * @returns [size]
 */
export function slerp(a: Float32Array, b: Float32Array, fraction: number): Float32Array {
  let [dot, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!
    aa += a[i]! ** 2
    bb += b[i]! ** 2
  }
  const angle = Math.acos(Math.min(Math.max(dot / Math.sqrt(aa * bb), -1), 1))
  const sine = Math.sin(angle)
  // Where they point the same way, or exactly opposite, there is no arc.
  const [wa, wb] =
    sine < 1e-6
      ? [1 - fraction, fraction]
      : [Math.sin((1 - fraction) * angle) / sine, Math.sin(fraction * angle) / sine]
  return a.map((value, i) => wa * value + wb * b[i]!)
}

/**
 * The noise that one seed's first picture starts from, that of another seed, and what lies between.
 * @param size numbers per picture
 * @returns [count, size]
 */
export function noiseBetween(
  size: number,
  seeds: readonly [from: number, to: number],
  count: number,
): Float32Array {
  const [a, b] = seeds.map((seed) => {
    const noise = new Float32Array(size)
    fillNoise(seed, [0], 0, noise)
    return noise
  }) as [Float32Array, Float32Array]
  const out = new Float32Array(count * size)
  for (let i = 0; i < count; i++) out.set(slerp(a, b, count === 1 ? 0 : i / (count - 1)), i * size)
  return out
}
