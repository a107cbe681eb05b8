import { fromRgba, type Manifest, toRgba } from '@ddpm/shared'
import { SamplerError } from './errors.ts'

/** An image that the model generated. */
export interface GeneratedImage {
  readonly pixels: ImageData
  /** [channels, height, width], approximately in [−1, 1]. */
  readonly values: Float32Array
  readonly seed: number
  /** Index of the image among the images of its seed. */
  readonly index: number
}

type ImageShape = Manifest['shape']

/**
 * Converts model output to images.
 * @param values [count, channels, height, width]
 */
export function toGeneratedImages(
  values: Float32Array,
  shape: ImageShape,
  { seed, first }: { seed: number; first: number },
): GeneratedImage[] {
  const size = shape.channels * shape.height * shape.width
  return Array.from({ length: values.length / size }, (_, i) => ({
    pixels: createImageData(toRgba(values, i, shape), shape.width, shape.height),
    values: values.subarray(i * size, (i + 1) * size),
    seed,
    index: first + i,
  }))
}

/** Splits RGBA data [count, height, width, 4] into one ImageData per image. */
export function splitRgba(rgba: Uint8ClampedArray<ArrayBuffer>, { height, width }: ImageShape): ImageData[] {
  const size = height * width * 4
  return Array.from({ length: rgba.length / size }, (_, i) =>
    createImageData(rgba.subarray(i * size, (i + 1) * size), width, height),
  )
}

/**
 * Converts start images to model input. A single image is used for all samples.
 * @returns [count, channels, height, width] in [−1, 1]
 * @throws SamplerError 'bad-option' for a wrong size or number of images
 */
export function encodeInit(
  init: ImageData | readonly ImageData[] | Float32Array,
  shape: ImageShape,
  count: number,
): Float32Array {
  if (init instanceof Float32Array) return init
  const images = 'data' in init ? Array<ImageData>(count).fill(init) : init
  if (images.length !== count) {
    throw new SamplerError(
      'bad-option',
      `Invalid init: expected one image for all samples or one per sample (${count}), got ${images.length}.`,
    )
  }
  return concatenate(images.map((image) => fromRgba(requireSize(image, shape, 'init').data, shape)))
}

/**
 * Converts a mask image to model input. White pixels are generated; black or transparent pixels are preserved.
 * @returns [count, channels, height, width] in [0, 1]
 * @throws SamplerError 'bad-option' for a wrong size
 */
export function encodeMask(mask: ImageData | Float32Array, shape: ImageShape, count: number): Float32Array {
  if (mask instanceof Float32Array) return mask
  const { data } = requireSize(mask, shape, 'mask')
  const plane = Float32Array.from({ length: shape.height * shape.width }, (_, pixel) => {
    const [red, green, blue, alpha] = data.subarray(pixel * 4, pixel * 4 + 4)
    return ((red! + green! + blue!) / 3 / 255) * (alpha! / 255)
  })
  return concatenate(Array<Float32Array>(count * shape.channels).fill(plane))
}

/** Concatenates arrays. */
export function concatenate(parts: readonly Float32Array[]): Float32Array {
  const result = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let offset = 0
  for (const part of parts) {
    result.set(part, offset)
    offset += part.length
  }
  return result
}

/** Node has no ImageData, so there it is an object with the same fields. */
function createImageData(data: Uint8ClampedArray<ArrayBuffer>, width: number, height: number): ImageData {
  if (typeof ImageData !== 'undefined') return new ImageData(data, width, height)
  return { data, width, height, colorSpace: 'srgb' } as ImageData
}

function requireSize(image: ImageData, { height, width }: ImageShape, option: 'init' | 'mask'): ImageData {
  if (image.width === width && image.height === height) return image
  const sizes = `expected ${width} × ${height} pixels, got ${image.width} × ${image.height}`
  throw new SamplerError('bad-option', `Invalid ${option}: ${sizes}. Scale the image with a canvas first.`)
}
