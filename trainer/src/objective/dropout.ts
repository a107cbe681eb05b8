import { domains, fillWords, uniforms } from '@ddpm/shared'

/**
 * Fills `out` with a random dropout mask: 0 with p = `probability`, 1/(1 − p) otherwise.
 *
 * A mask has up to a million elements per image, so each byte of the 32-bit random words decides one element. With
 * threshold = 256·p, a byte less than ⌊threshold⌋ drops its element, and a greater byte does not. If a byte equals
 * ⌊threshold⌋, an additional uniform random number decides, so that the probability is exactly p.
 */
export function fillDropoutMask(seed: number, step: number, probability: number, out: Float32Array): void {
  const threshold = probability * 256
  const boundary = Math.floor(threshold)
  const scale = 1 / (1 - probability)
  const undecided: number[] = []
  const stream = { domain: domains.dropout, image: 0, step }
  const randomWords = fillWords(seed, stream, new Uint32Array(Math.ceil(out.length / 4)))
  for (let i = 0; i < out.length; i++) {
    const byte = (randomWords[i >>> 2]! >>> ((i & 3) * 8)) & 255
    out[i] = byte < boundary ? 0 : scale
    if (byte === boundary) undecided.push(i)
  }
  const uniform = uniforms(seed, { ...stream, image: 1 }, undecided.length)
  for (const [k, i] of undecided.entries()) if (uniform[k]! < threshold - boundary) out[i] = 0
}
