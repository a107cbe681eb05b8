import { type Coding, codings } from '../registry/keys.ts'

/** Returns whether files of this type are also stored compressed. Compression hardly shrinks weights and images. */
export const isCompressible = (mediaType: string): boolean =>
  mediaType === 'application/wasm' || mediaType.startsWith('text/')

/**
 * Chooses the content coding of a response from Accept-Encoding (RFC 9110 section 12.5.3): the coding with the greatest
 * weight. Among codings of equal weight, chooses the one with the best compression.
 * @returns null for no coding (identity)
 */
export function chooseCoding(acceptEncoding: string | undefined): Coding | null {
  if (acceptEncoding === undefined) return null
  const weights = new Map<string, number>()
  for (const element of acceptEncoding.toLowerCase().split(',')) {
    const [name = '', ...parameters] = element.split(';').map((text) => text.trim())
    const q = parameters.map((text) => /^q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.exec(text)?.[1])[0]
    // An invalid weight counts as 0: not acceptable.
    weights.set(name === 'x-gzip' ? 'gzip' : name, parameters.length === 0 ? 1 : Number(q ?? 0))
  }
  const weightOf = (coding: string) => weights.get(coding) ?? weights.get('*') ?? 0
  const best = codings.reduce((best, coding) => (weightOf(coding) > weightOf(best) ? coding : best))
  if (weightOf(best) === 0) return null
  return weightOf(best) >= (weights.get('identity') ?? 0) ? best : null
}
