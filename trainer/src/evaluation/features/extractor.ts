import { countImages, type Images } from '../inputs/images.ts'
import type { Features } from '../metrics/features.ts'

/** Computes feature vectors of images. */
export interface Extractor {
  /** Human-readable. */
  readonly description: string
  /** Identifies the extractor: features of different extractors must not be compared. */
  readonly digest: string
  extract(images: Images): Promise<Features>
  dispose(): Promise<void>
}

/** Default number of images per call of a network. */
export const defaultBatch = 64

/**
 * Runs a network on all images, batch by batch.
 * @param run computes features [n, dims] from the pixels of `n` images
 */
export async function extractInBatches(
  images: Images,
  run: (pixels: Uint8Array, n: number) => Promise<Float32Array>,
  batch = defaultBatch,
): Promise<Features> {
  const { channels, height, width, pixels } = images
  const size = channels * height * width
  const count = countImages(images)
  const parts: Float32Array[] = []
  for (let first = 0; first < count; first += batch) {
    const n = Math.min(batch, count - first)
    parts.push(await run(pixels.subarray(first * size, (first + n) * size), n))
  }
  const dims = parts[0]!.length / Math.min(batch, count)
  const values = new Float32Array(count * dims)
  for (const [i, part] of parts.entries()) values.set(part, i * batch * dims)
  return { count, dims, values }
}
