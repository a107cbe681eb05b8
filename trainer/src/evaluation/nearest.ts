import { type Dataset, toSigned } from '../data/dataset/dataset.ts'
import { gridPng } from '../image/grid.ts'
import type { Extractor } from './features/extractor.ts'
import { countImages, type Images } from './inputs/images.ts'
import type { Features } from './metrics/features.ts'
import { type Neighbour, nearestRows } from './metrics/neighbours.ts'

/** Samples with their nearest images of a dataset. */
export interface NearestImages {
  /** PNG of three rows: samples, nearest images by pixels, nearest images by features. */
  readonly png: Uint8Array
  /** Root mean square difference of each sample to the nearest image by pixels, with values in [−1, 1]. */
  readonly distances: readonly number[]
}

/** Finds the nearest image of a dataset to each sample, by pixels and by features. */
export async function findNearestImages(
  samples: Images,
  dataset: Dataset,
  extractor: Extractor,
): Promise<NearestImages> {
  const count = countImages(samples)
  const size = samples.pixels.length / count
  const byPixels = nearestRows(pixelFeatures(samples.pixels, size), pixelFeatures(dataset.pixels, size))
  const byFeatures = nearestRows(await extractor.extract(samples), await extractor.extract(dataset))
  const pixelsOf = ({ index }: Neighbour) => dataset.pixels.subarray(index * size, (index + 1) * size)
  const rows = [samples.pixels, ...byPixels.map(pixelsOf), ...byFeatures.map(pixelsOf)]
  const values = Float32Array.from(Buffer.concat(rows), toSigned)
  return {
    png: await gridPng(values, samples, { columns: count }),
    distances: byPixels.map(({ distance }) => distance / Math.sqrt(size)),
  }
}

function pixelFeatures(pixels: Uint8Array, size: number): Features {
  return { count: pixels.length / size, dims: size, values: Float32Array.from(pixels, toSigned) }
}
