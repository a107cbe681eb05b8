import { type WeightPair, weightedSum } from '../diffusion/process.ts'
import { fillNoise } from '../sampling/loop.ts'
import type { ModelInfo } from './model.ts'

/**
 * Returns the initial noise of an image of a seed.
 * @param index index of the image
 * @returns [channels, height, width], standard normal
 */
export function startNoise({ shape }: Pick<ModelInfo, 'shape'>, seed: number, index = 0): Float32Array {
  return noiseOfSize(shape.channels * shape.height * shape.width, seed, index)
}

/**
 * Interpolates between the initial noise of two seeds, each for the image with index 0.
 * @param size values per image
 * @returns [count, size], from the first seed's noise to the second's
 */
export function noiseBetween(
  size: number,
  [from, to]: readonly [from: number, to: number],
  count: number,
): Float32Array {
  const [a, b] = [noiseOfSize(size, from), noiseOfSize(size, to)]
  const out = new Float32Array(count * size)
  for (let i = 0; i < count; i++) out.set(slerp(a, b, count === 1 ? 0 : i / (count - 1)), i * size)
  return out
}

/**
 * Interpolates spherically between two noise vectors (Shoemake 1985). A noise vector in many dimensions nearly always has a
 * length near √size. Spherical interpolation preserves this length. Linear interpolation would give shorter vectors, on
 * which the model was not trained.
 * @param a, b [size]
 * @param fraction 0 returns a, 1 returns b
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
  // Parallel and opposite vectors define no arc: interpolate linearly.
  const weights: WeightPair =
    sine < 1e-6
      ? [1 - fraction, fraction]
      : [Math.sin((1 - fraction) * angle) / sine, Math.sin(fraction * angle) / sine]
  return weightedSum(weights, a, b, new Float32Array(a.length))
}

function noiseOfSize(size: number, seed: number, index = 0): Float32Array {
  const noise = new Float32Array(size)
  fillNoise(seed, [index], 0, noise)
  return noise
}
