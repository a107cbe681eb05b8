import { type Coding, codings } from '../registry/keys.ts'

/** Types whose files exist compressed beforehand. Weights are noise to a compressor, pictures are compressed. */
export const isCompressible = (mediaType: string): boolean =>
  mediaType === 'application/wasm' || mediaType.startsWith('text/')

/**
 * The content coding to answer in, by Accept-Encoding (RFC 9110 section 12.5.3): the one with the greatest weight,
 * at equal weights the smallest file.
 * @returns null for the bytes as they are
 */
export function chooseCoding(acceptEncoding: string | undefined): Coding | null {
  if (acceptEncoding === undefined) return null
  const weights = new Map<string, number>()
  for (const element of acceptEncoding.toLowerCase().split(',')) {
    const [name = '', ...parameters] = element.split(';').map((text) => text.trim())
    const q = parameters.map((text) => /^q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.exec(text)?.[1])[0]
    // A weight that is none makes nothing acceptable.
    weights.set(name === 'x-gzip' ? 'gzip' : name, parameters.length === 0 ? 1 : Number(q ?? 0))
  }
  const weightOf = (coding: string) => weights.get(coding) ?? weights.get('*') ?? 0
  const best = codings.reduce((best, coding) => (weightOf(coding) > weightOf(best) ? coding : best))
  if (weightOf(best) === 0) return null
  return weightOf(best) >= (weights.get('identity') ?? 0) ? best : null
}
