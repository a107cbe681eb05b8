import { domains, randomPermutation, UserError } from '@ddpm/shared'
import type { DecodeOptions } from './decode.ts'
import { formatSize, type Size } from './size.ts'

/** An image of a folder. */
export interface ImageSource {
  /** Path relative to the folder. */
  readonly path: string
  /** SHA-1 of the decoded pixels at the training size. */
  readonly sha1: string
}

/** A set of images. Every source is converted to this form. */
export interface Dataset {
  readonly name: string
  readonly channels: number
  readonly height: number
  readonly width: number
  readonly count: number
  /** Names of the classes; [] if the images have no labels. */
  readonly classes: readonly string[]
  /** Bytes of the images in memory, [count, channels, height, width]. With `files`, only the first images are in memory. */
  readonly pixels: Uint8Array
  /** [count], indices into `classes`; null if the images have no labels. */
  readonly labels: Uint16Array | null
  /** Where the images come from, if they are those of a folder. */
  readonly sources?: readonly ImageSource[]
  /** The images that follow those in memory. Absent if all images are in memory. */
  readonly files?: ImageFiles
}

/** Images that are decoded on demand because they do not fit in memory. */
export interface ImageFiles {
  readonly folder: string
  /** Path of each image, relative to the folder. */
  readonly paths: readonly string[]
  readonly decoding: DecodeOptions
}

/** Returns the number of bytes of an image. */
export function imageSize({ channels, height, width }: Dataset): number {
  return channels * height * width
}

/** Converts a byte to the range of the network, −1 to 1 (DDPM section 3.3). */
export function toSigned(byte: number): number {
  return byte / 127.5 - 1
}

/**
 * Writes image `index`, which must be in memory, as float32 in [−1, 1].
 * @param out receives [channels, height, width], starting at `offset`
 * @param flip whether to mirror the image left to right
 */
export function writeImage(
  dataset: Dataset,
  index: number,
  out: Float32Array,
  offset: number,
  flip: boolean,
): void {
  const { pixels, width } = dataset
  const size = imageSize(dataset)
  const start = index * size
  for (let row = 0; row < size; row += width) {
    for (let column = 0; column < width; column++) {
      const from = row + (flip ? width - 1 - column : column)
      out[offset + row + column] = toSigned(pixels[start + from]!)
    }
  }
}

/** The training set and the validation set. */
export interface Split {
  readonly train: Dataset
  readonly validation: Dataset
}

/** Returns the sizes of the sets into which `split` divides `count` images. */
export function splitSizes(count: number, fraction: number): { train: number; validation: number } {
  const validation = Math.min(count - 1, Math.max(1, Math.round(fraction * count)))
  return { train: count - validation, validation }
}

/** Describes the sizes of the training and the validation set. */
export function describeSplit(count: number, fraction: number): string {
  const { train, validation } = splitSizes(count, fraction)
  return `${train.toLocaleString('en')} for training, ${validation.toLocaleString('en')} for validation`
}

/**
 * Splits a dataset at random into a training set and a validation set.
 * @param fraction fraction of the images for validation, 0 to 1, rounded so that both sets have at least one image
 * @param seed the same seed gives the same split
 * @throws UserError if there are fewer than two images
 */
export function split(dataset: Dataset, fraction: number, seed: number): Split {
  if (dataset.count < 2) {
    throw new UserError(
      `Too few images in ${dataset.name}: expected at least 2, one of them for validation, got ${dataset.count}. ` +
        'Add images.',
    )
  }
  const order = randomPermutation(seed, { domain: domains.split, image: 0, step: 0 }, dataset.count)
  const { validation } = splitSizes(dataset.count, fraction)
  return {
    train: select(dataset, order.subarray(validation).sort()),
    validation: select(dataset, order.subarray(0, validation).sort()),
  }
}

/**
 * Selects images.
 * @param indices ascending, so that the images in memory still precede the others
 */
function select(dataset: Dataset, indices: Uint32Array): Dataset {
  const size = imageSize(dataset)
  const cachedCount = dataset.pixels.length / size
  const { files, labels, sources: _, ...properties } = dataset
  const inMemory = indices.filter((index) => index < cachedCount)
  // Shared memory, so that the thread that builds batches reads the same pixels without a copy.
  const pixels = new Uint8Array(new SharedArrayBuffer(inMemory.length * size))
  inMemory.forEach((index, to) => {
    pixels.set(dataset.pixels.subarray(index * size, (index + 1) * size), to * size)
  })
  const paths = Array.from(indices.subarray(inMemory.length), (index) => files!.paths[index - cachedCount]!)
  return {
    ...properties,
    count: indices.length,
    pixels,
    labels: labels && selectLabels(labels, indices),
    ...(files && paths.length > 0 && { files: { ...files, paths } }),
  }
}

/** Returns the labels of the images at the indices. */
export function selectLabels(labels: Uint16Array, indices: Uint32Array): Uint16Array {
  return Uint16Array.from(indices, (index) => labels[index]!)
}

/**
 * Pads every image with black, centred, for example 28×28 digits to 32×32.
 * @throws UserError if the images are larger than the size
 */
export function pad(dataset: Dataset, size: Size): Dataset {
  const { channels, height, width, count } = dataset
  if (size.height < height || size.width < width) {
    throw new UserError(
      `Invalid size ${formatSize(size)}: the ${width}×${height} images of ${dataset.name} cannot be cropped to ` +
        `${size.width}×${size.height}. Use a size of at least ${Math.max(width, height)}.`,
    )
  }
  if (size.height === height && size.width === width) return dataset
  const top = (size.height - height) >> 1
  const left = (size.width - width) >> 1
  const pixels = new Uint8Array(count * channels * size.height * size.width)
  for (let plane = 0; plane < count * channels; plane++) {
    for (let row = 0; row < height; row++) {
      const from = (plane * height + row) * width
      pixels.set(
        dataset.pixels.subarray(from, from + width),
        (plane * size.height + top + row) * size.width + left,
      )
    }
  }
  return { ...dataset, ...size, pixels }
}
