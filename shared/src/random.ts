import { inverseNormal } from './normal.ts'

/**
 * Seeded, counter-based randomness: Threefry-4×32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers:
 * as easy as 1, 2, 3"). A number is a pure function of (seed, domain, picture, step, index), so picture i of seed s
 * does not depend on batch size, device, engine or what was drawn before it. Every operation used is exact or
 * correctly rounded by IEEE 754, so Node and every browser compute the same bits.
 */
export interface Stream {
  /** Which use of randomness this is: two uses in different domains never share numbers. */
  readonly domain: number
  /** Which picture (or sample, or epoch) the numbers belong to: 0 … 2³²−1. */
  readonly picture: number
  /** Which step of its life: 0 … 2³²−1. */
  readonly step: number
}

/** The uses of randomness in this project. A number, once published, keeps its meaning. */
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
  bootstrap: 20,
  likelihood: 21,
  likelihoodTimestep: 22,
  selection: 23,
} as const

const parity = 0x1bd11bda
// Rotation amounts of the even and odd half of each pair of lanes, for round mod 8 (table 2 of the paper).
const rotateFirst = [10, 11, 13, 23, 6, 17, 25, 18]
const rotateSecond = [26, 21, 27, 5, 20, 11, 10, 20]
const schedule = new Int32Array(5)

/**
 * One block of Threefry-4×32-20.
 * @param counter four 32-bit words
 * @param key four 32-bit words
 * @param out receives four 32-bit words
 */
export function threefry(counter: ArrayLike<number>, key: ArrayLike<number>, out: Uint32Array): void {
  schedule[4] = parity
  for (let i = 0; i < 4; i++) {
    schedule[i] = key[i]!
    schedule[4]! ^= key[i]!
  }
  let x0 = (counter[0]! + schedule[0]!) | 0
  let x1 = (counter[1]! + schedule[1]!) | 0
  let x2 = (counter[2]! + schedule[2]!) | 0
  let x3 = (counter[3]! + schedule[3]!) | 0
  for (let round = 0; round < 20; round++) {
    const first = rotateFirst[round % 8]!
    const second = rotateSecond[round % 8]!
    x0 = (x0 + x1) | 0
    x1 = ((x1 << first) | (x1 >>> (32 - first))) ^ x0
    x2 = (x2 + x3) | 0
    x3 = ((x3 << second) | (x3 >>> (32 - second))) ^ x2
    const held = x1
    x1 = x3
    x3 = held
    if (round % 4 === 3) {
      const injection = (round + 1) / 4
      x0 = (x0 + schedule[injection % 5]!) | 0
      x1 = (x1 + schedule[(injection + 1) % 5]!) | 0
      x2 = (x2 + schedule[(injection + 2) % 5]!) | 0
      x3 = (x3 + schedule[(injection + 3) % 5]! + injection) | 0
    }
  }
  out[0] = x0
  out[1] = x1
  out[2] = x2
  out[3] = x3
}

/** Calls `take(word, index)` for the first `count` 32-bit words of a stream. */
export function eachWord(
  seed: number,
  stream: Stream,
  count: number,
  take: (word: number, index: number) => void,
): void {
  const key = [seed | 0, Math.floor(seed / 2 ** 32) | 0, stream.domain, 0]
  const counter = [0, stream.step, stream.picture, 0]
  const words = new Uint32Array(4)
  for (let index = 0; index < count; index += 4) {
    threefry(counter, key, words)
    for (let lane = 0; lane < 4 && index + lane < count; lane++) take(words[lane]!, index + lane)
    counter[0]!++
  }
}

/**
 * Uniform numbers in the open interval (0, 1), each the centre of one of 2³² equal cells.
 * @param seed a non-negative integer below 2⁵³
 * @returns [count], float64
 */
export function uniforms(seed: number, stream: Stream, count: number): Float64Array {
  const out = new Float64Array(count)
  eachWord(seed, stream, count, (word, index) => {
    out[index] = (word + 0.5) / 2 ** 32
  })
  return out
}

/**
 * Standard normal numbers, by the inverse of the distribution function.
 * @param seed a non-negative integer below 2⁵³
 * @param out filled from `offset` on with `count` numbers, float32
 */
export function normals(
  seed: number,
  stream: Stream,
  out: Float32Array,
  offset = 0,
  count = out.length,
): void {
  eachWord(seed, stream, count, (word, index) => {
    out[offset + index] = inverseNormal((word + 0.5) / 2 ** 32)
  })
}

/**
 * A random permutation of 0 … count−1 (Fisher–Yates).
 * @returns [count]
 */
export function permutation(seed: number, stream: Stream, count: number): Uint32Array {
  const out = Uint32Array.from({ length: count }, (_, index) => index)
  const u = uniforms(seed, stream, count)
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(u[last]! * (last + 1))
    const held = out[last]!
    out[last] = out[other]!
    out[other] = held
  }
  return out
}
