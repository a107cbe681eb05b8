import { toSigned } from '../data/dataset/dataset.ts'
import { countImages, type Images } from './inputs/images.ts'
import type { Features } from './metrics/features.ts'
import { type Neighbour, nearestRows } from './metrics/neighbours.ts'

/** The nearest real image of an image, by pixels. */
export interface NearestImage {
  readonly index: number
  /** Root mean square difference to it or, if that is smaller, to its mirror image, with values in [−1, 1]. */
  readonly distance: number
  /** The distance divided by the mean distance to the `neighbourhood` nearest real images. */
  readonly ratio: number
}

/**
 * Number of nearest images that a distance is compared with: n of Carlini et al. 2023. An absolute distance
 * would not do: images of plain areas are close to each other.
 */
export const neighbourhood = 50
/** Ratio below which an image counts as a copy: α of Carlini et al. 2023. */
export const copyRatio = 0.5

export function isCopy({ ratio }: NearestImage): boolean {
  return ratio < copyRatio
}

/**
 * Finds the nearest real image of each image by pixels. A mirror image counts as the same image, because training may flip
 * images.
 * @param onProgress receives the fraction that is done
 * @param self index of each image in `real` if it is one of them: it is not its own neighbour
 */
export async function findNearest(
  images: Images,
  real: Images,
  onProgress: (fraction: number) => Promise<void> = async () => {},
  self?: ArrayLike<number>,
): Promise<NearestImage[]> {
  const size = images.channels * images.height * images.width
  const count = countImages(real)
  const blocks = {
    count,
    dims: size,
    read: (from: number, to: number) => signed(real.pixels.subarray(from * size, to * size)),
  }
  const k = neighbourhood + (self ? 1 : 0)
  const plain = await nearestRows(rowsOf(images), blocks, k, (done) => onProgress(done / count / 2))
  const mirrored = await nearestRows(rowsOf(mirror(images)), blocks, k, (done) =>
    onProgress((1 + done / count) / 2),
  )
  return plain.map((neighbours, i) => {
    const others = merge(neighbours, mirrored[i]!).filter(({ index }) => index !== self?.[i])
    const nearest = others.slice(0, neighbourhood)
    const mean = nearest.reduce((sum, { distance }) => sum + distance, 0) / nearest.length
    const { index, distance } = nearest[0]!
    // The mean is 0 if all of them are copies.
    return { index, distance: distance / Math.sqrt(size), ratio: mean === 0 ? 0 : distance / mean }
  })
}

/** Merges the neighbours of an image and those of its mirror image. The smaller distance of each neighbour remains. */
function merge(a: readonly Neighbour[], b: readonly Neighbour[]): Neighbour[] {
  const found = new Set<number>()
  return [...a, ...b]
    .sort((x, y) => x.distance - y.distance)
    .filter(({ index }) => {
      if (found.has(index)) return false
      found.add(index)
      return true
    })
}

function rowsOf(images: Images): Features {
  const count = countImages(images)
  return { count, dims: images.pixels.length / count, values: signed(images.pixels) }
}

/** Mirrors images left to right. */
function mirror({ pixels, width, ...shape }: Images): Images {
  const mirrored = pixels.map((_, i) => pixels[i - (i % width) + width - 1 - (i % width)]!)
  return { ...shape, width, pixels: mirrored }
}

/** Converts bytes to [−1, 1]. `Float32Array.from` with a function is ten times slower. */
function signed(pixels: Uint8Array): Float32Array {
  const values = new Float32Array(pixels.length)
  for (let i = 0; i < values.length; i++) values[i] = toSigned(pixels[i]!)
  return values
}
