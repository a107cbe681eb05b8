import { toSigned } from '../data/dataset/dataset.ts'
import { gridPng } from '../image/grid.ts'
import { countImages, type Images } from './inputs/images.ts'

/** One column: a sample and its nearest real images. */
export interface NeighbourColumn {
  /** Index of the sample. */
  readonly sample: number
  /** Indices of the nearest real images. */
  readonly byPixels: number
  readonly byFeatures: number
  /** Whether the sample and its nearest image by pixels are marked. */
  readonly marked: boolean
}

/** Columns per strip. Further samples follow in further strips. */
const columnsPerStrip = 16

/**
 * Encodes a PNG of strips. Each strip has three rows: samples, nearest real images by pixels, nearest real images by
 * features. Marked images have a red frame.
 */
export function neighboursPng(
  samples: Images,
  real: Images,
  columns: readonly NeighbourColumn[],
): Promise<Uint8Array> {
  const size = samples.pixels.length / countImages(samples)
  const perStrip = Math.min(columns.length, columnsPerStrip)
  const cells = Math.ceil(columns.length / perStrip) * 3 * perStrip
  // Cells without an image are white.
  const values = new Float32Array(cells * size).fill(1)
  const framed: number[] = []
  for (const [i, { sample, byPixels, byFeatures, marked }] of columns.entries()) {
    const cell = Math.floor(i / perStrip) * 3 * perStrip + (i % perStrip)
    const images = [
      [samples, sample],
      [real, byPixels],
      [real, byFeatures],
    ] as const
    for (const [row, [{ pixels }, index]] of images.entries()) {
      const image = Float32Array.from(pixels.subarray(index * size, (index + 1) * size), toSigned)
      values.set(image, (cell + row * perStrip) * size)
    }
    if (marked) framed.push(cell, cell + perStrip)
  }
  return gridPng(values, samples, { columns: perStrip, framed })
}
