import { inverseNormal } from './normal.ts'

/**
 * A stream of random numbers. The generator is counter-based: Threefry-4×32 with 20 rounds (Salmon et al. 2011,
 * "Parallel random numbers: as easy as 1, 2, 3"). Each number is a pure function of (seed, domain, image, step, index),
 * so image i of seed s does not depend on the batch size, the device or previously generated numbers. Every operation is
 * exact or correctly rounded by IEEE 754, so Node and every browser compute the same bits.
 */
export interface Stream {
  /** Use of the numbers, one of `domains`. Different domains never share numbers. */
  readonly domain: number
  /** Index of the image (or run, or set) within the domain, from 0 to 2³²−1. */
  readonly image: number
  /** Index of the step (or epoch, or replicate) of that image, from 0 to 2³²−1. */
  readonly step: number
}

/** All uses of random numbers. The meaning of a published value must never change, or old seeds give other images. */
export const domains = {
  sampling: 0,
  initialization: 1,
  trainingNoise: 2,
  trainingTimestep: 3,
  dropout: 4,
  labelDropout: 5,
  shuffle: 6,
  augmentation: 7,
  shapes: 8,
  split: 9,
  label: 10,
  inpainting: 12,
  faces: 13,
  bootstrap: 20,
  likelihood: 21,
  likelihoodTimestep: 22,
  selection: 23,
} as const

/**
 * Generates standard normal numbers by inverting the distribution function.
 * @param seed a non-negative integer below 2⁵³
 * @param out receives `count` numbers, starting at `offset`
 */
export function fillNormals(
  seed: number,
  stream: Stream,
  out: Float32Array,
  offset = 0,
  count = out.length,
): void {
  // To avoid an allocation, the words are written to the memory of `out`, where the numbers then replace them.
  const bits = fillWords(seed, stream, new Uint32Array(out.buffer, out.byteOffset + 4 * offset, count))
  for (let index = 0; index < count; index++) out[offset + index] = inverseNormal(uniform(bits[index]!))
}

/**
 * Returns uniform numbers in the open interval (0, 1), each the centre of one of 2³² equal cells.
 * @param seed a non-negative integer below 2⁵³
 * @returns [count], float64
 */
export function uniforms(seed: number, stream: Stream, count: number): Float64Array {
  return Float64Array.from(fillWords(seed, stream, new Uint32Array(count)), uniform)
}

/**
 * Returns a random permutation of 0 … count−1 (Fisher–Yates).
 * @returns [count]
 */
export function randomPermutation(seed: number, stream: Stream, count: number): Uint32Array {
  const out = Uint32Array.from({ length: count }, (_, index) => index)
  const u = uniforms(seed, stream, count)
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(u[last]! * (last + 1))
    const swapped = out[last]!
    out[last] = out[other]!
    out[other] = swapped
  }
  return out
}

/**
 * Fills an array with the first 32-bit words of a stream.
 * @param seed a non-negative integer below 2⁵³
 * @returns `out`
 */
export function fillWords(seed: number, stream: Stream, out: Uint32Array): Uint32Array {
  const key = [seed | 0, Math.floor(seed / 2 ** 32) | 0, stream.domain, 0]
  const counter = [0, stream.step, stream.image, 0]
  const whole = out.length - (out.length % 4)
  for (let offset = 0; offset < whole; offset += 4) {
    threefry(counter, key, out, offset)
    counter[0]!++
  }
  if (whole < out.length) {
    const last = new Uint32Array(4)
    threefry(counter, key, last)
    out.set(last.subarray(0, out.length - whole), whole)
  }
  return out
}

/** Maps a word to the centre of one of 2³² equal cells of (0, 1). */
function uniform(word: number): number {
  return (word + 0.5) / 2 ** 32
}

const parity = 0x1bd11bda

/**
 * Computes one block of Threefry-4×32-20. Each round mixes two pairs of words. The pairs alternate from round to round. The
 * rotation amounts are those of the paper's table 2. The key is injected after every fourth round.
 * @param counter four 32-bit words
 * @param key four 32-bit words
 * @param out receives four 32-bit words, starting at `offset`
 */
export function threefry(
  counter: ArrayLike<number>,
  key: ArrayLike<number>,
  out: Uint32Array,
  offset = 0,
): void {
  let k0 = key[0]! | 0
  let k1 = key[1]! | 0
  let k2 = key[2]! | 0
  let k3 = key[3]! | 0
  let k4 = parity ^ k0 ^ k1 ^ k2 ^ k3
  let x0 = (counter[0]! + k0) | 0
  let x1 = (counter[1]! + k1) | 0
  let x2 = (counter[2]! + k2) | 0
  let x3 = (counter[3]! + k3) | 0
  for (let injection = 1; injection <= 5; injection++) {
    if (injection % 2 === 1) {
      x0 = (x0 + x1) | 0
      x1 = ((x1 << 10) | (x1 >>> 22)) ^ x0
      x2 = (x2 + x3) | 0
      x3 = ((x3 << 26) | (x3 >>> 6)) ^ x2

      x0 = (x0 + x3) | 0
      x3 = ((x3 << 11) | (x3 >>> 21)) ^ x0
      x2 = (x2 + x1) | 0
      x1 = ((x1 << 21) | (x1 >>> 11)) ^ x2

      x0 = (x0 + x1) | 0
      x1 = ((x1 << 13) | (x1 >>> 19)) ^ x0
      x2 = (x2 + x3) | 0
      x3 = ((x3 << 27) | (x3 >>> 5)) ^ x2

      x0 = (x0 + x3) | 0
      x3 = ((x3 << 23) | (x3 >>> 9)) ^ x0
      x2 = (x2 + x1) | 0
      x1 = ((x1 << 5) | (x1 >>> 27)) ^ x2
    } else {
      x0 = (x0 + x1) | 0
      x1 = ((x1 << 6) | (x1 >>> 26)) ^ x0
      x2 = (x2 + x3) | 0
      x3 = ((x3 << 20) | (x3 >>> 12)) ^ x2

      x0 = (x0 + x3) | 0
      x3 = ((x3 << 17) | (x3 >>> 15)) ^ x0
      x2 = (x2 + x1) | 0
      x1 = ((x1 << 11) | (x1 >>> 21)) ^ x2

      x0 = (x0 + x1) | 0
      x1 = ((x1 << 25) | (x1 >>> 7)) ^ x0
      x2 = (x2 + x3) | 0
      x3 = ((x3 << 10) | (x3 >>> 22)) ^ x2

      x0 = (x0 + x3) | 0
      x3 = ((x3 << 18) | (x3 >>> 14)) ^ x0
      x2 = (x2 + x1) | 0
      x1 = ((x1 << 20) | (x1 >>> 12)) ^ x2
    }
    const first = k0
    k0 = k1
    k1 = k2
    k2 = k3
    k3 = k4
    k4 = first
    x0 = (x0 + k0) | 0
    x1 = (x1 + k1) | 0
    x2 = (x2 + k2) | 0
    x3 = (x3 + k3 + injection) | 0
  }
  out[offset] = x0
  out[offset + 1] = x1
  out[offset + 2] = x2
  out[offset + 3] = x3
}
