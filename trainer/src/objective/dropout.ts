import { domains, uniforms, words } from '@ddpm/shared'

/**
 * Draws dropout masks: 0 with the given probability, else 1/(1 − probability).
 *
 * Elementwise masks are a million decisions per picture, so four are made of each 32-bit word: a byte below 256·p
 * drops, one above keeps, and one in between is settled by a uniform number of its own, which keeps p exact.
 */
export function dropMasks(seed: number, step: number, probability: number, out: Float32Array): void {
  const threshold = probability * 256
  const between = Math.floor(threshold)
  const kept = 1 / (1 - probability)
  const undecided: number[] = []
  const stream = { domain: domains.dropout, image: 0, step }
  const drawnWords = words(seed, stream, new Uint32Array(Math.ceil(out.length / 4)))
  for (let i = 0; i < out.length; i++) {
    const byte = (drawnWords[i >>> 2]! >>> ((i & 3) * 8)) & 255
    out[i] = byte < between ? 0 : kept
    if (byte === between) undecided.push(i)
  }
  const drawn = uniforms(seed, { ...stream, image: 1 }, undecided.length)
  for (const [k, i] of undecided.entries()) if (drawn[k]! < threshold - between) out[i] = 0
}
