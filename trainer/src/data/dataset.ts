import { domains, permutation, UserError } from '@ddpm/shared'
import type { DecodeOptions } from './decode.ts'

/** Pictures: the one form that every source becomes. */
export interface Dataset {
  readonly name: string
  readonly channels: number
  readonly height: number
  readonly width: number
  readonly count: number
  /** Names of the classes; [] when unlabelled. */
  readonly classes: readonly string[]
  /** Bytes of the pictures in memory, [count, channels, height, width]; where there are `files`, of the first ones. */
  readonly pixels: Uint8Array
  /** [count], index into `classes`; null when unlabelled. */
  readonly labels: Uint16Array | null
  /** The pictures after those in memory; absent where all are. */
  readonly files?: ImageFiles
}

/** Pictures that are decoded when they are asked for, for there are more than memory holds. */
export interface ImageFiles {
  readonly folder: string
  /** Of each picture, inside the folder. */
  readonly paths: readonly string[]
  readonly decoding: DecodeOptions
}

/** Bytes of a picture. */
export function imageSize({ channels, height, width }: Dataset): number {
  return channels * height * width
}

/** A byte as the network sees it: 0 … 255 becomes −1 … 1 (DDPM section 3.3). */
export function toSigned(byte: number): number {
  return byte / 127.5 - 1
}

/**
 * Writes picture `index`, one of those in memory, as float32 in [−1, 1].
 * @param out receives [channels, height, width] from `offset` on
 * @param flip mirror left and right
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

/** Pictures to train on, and those that are kept from it. */
export interface Split {
  readonly train: Dataset
  readonly validation: Dataset
}

/**
 * Takes a random part away for validation.
 * @param fraction of the pictures that go to `validation`, rounded; with 0 < fraction < 1 both parts get at
 *   least one
 * @param seed the same seed makes the same split
 * @throws UserError when there are too few pictures for two parts
 */
export function split(dataset: Dataset, fraction: number, seed: number): Split {
  if (dataset.count < 2) {
    throw new UserError(
      `Found ${dataset.count} picture in ${dataset.name}; training needs at least 2, one of them for validation. ` +
        'Add pictures.',
    )
  }
  const order = permutation(seed, { domain: domains.split, image: 0, step: 0 }, dataset.count)
  const held = Math.min(dataset.count - 1, Math.max(1, Math.round(fraction * dataset.count)))
  return {
    train: select(dataset, order.subarray(held).sort()),
    validation: select(dataset, order.subarray(0, held).sort()),
  }
}

/** The pictures with the given indices, which rise: those in memory stay the first. */
function select(dataset: Dataset, indices: Uint32Array): Dataset {
  const size = imageSize(dataset)
  const held = dataset.pixels.length / size
  const { files, labels, ...facts } = dataset
  const inMemory = indices.filter((index) => index < held)
  // Shared memory, so that the thread that makes batches reads these very pixels.
  const pixels = new Uint8Array(new SharedArrayBuffer(inMemory.length * size))
  inMemory.forEach((index, to) => {
    pixels.set(dataset.pixels.subarray(index * size, (index + 1) * size), to * size)
  })
  const paths = Array.from(indices.subarray(inMemory.length), (index) => files!.paths[index - held]!)
  return {
    ...facts,
    count: indices.length,
    pixels,
    labels: labels && selectLabels(labels, indices),
    ...(files && paths.length > 0 && { files: { ...files, paths } }),
  }
}

/** The labels of the pictures with the given indices. */
export function selectLabels(labels: Uint16Array, indices: Uint32Array): Uint16Array {
  return Uint16Array.from(indices, (index) => labels[index]!)
}

/**
 * Sets every picture in the middle of a black square (28×28 digits become 32×32).
 * @param size the square's side in pixels
 * @throws UserError when a picture is larger than that
 */
export function pad(dataset: Dataset, size: number): Dataset {
  const { channels, height, width, count } = dataset
  if (size < height || size < width) {
    throw new UserError(
      `The pictures of ${dataset.name} are ${width}×${height}; they can be padded to a larger square, ` +
        `not cut to ${size}×${size}. Use a size of at least ${Math.max(width, height)}.`,
    )
  }
  if (size === height && size === width) return dataset
  const top = (size - height) >> 1
  const left = (size - width) >> 1
  const pixels = new Uint8Array(count * channels * size * size)
  for (let plane = 0; plane < count * channels; plane++) {
    for (let row = 0; row < height; row++) {
      const from = (plane * height + row) * width
      pixels.set(dataset.pixels.subarray(from, from + width), (plane * size + top + row) * size + left)
    }
  }
  return { ...dataset, height: size, width: size, pixels }
}
