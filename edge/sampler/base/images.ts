import { fromRgba, type Manifest, toRgba } from '@ddpm/shared'
import { SamplerError } from './errors.ts'

export interface GeneratedImage {
  readonly pixels: ImageData
  /** [channels, height, width], about [−1, 1]. */
  readonly values: Float32Array
  readonly seed: number
  /** Which picture of the seed. */
  readonly index: number
}

type ImageShape = Manifest['shape']

/** Node has no ImageData; what it is made of is the same there. */
function imageOf(data: Uint8ClampedArray<ArrayBuffer>, width: number, height: number): ImageData {
  if (typeof ImageData !== 'undefined') return new ImageData(data, width, height)
  return { data, width, height, colorSpace: 'srgb' } as ImageData
}

/** RGBA of several pictures, one after the other, as ImageData. */
export function split(rgba: Uint8ClampedArray<ArrayBuffer>, { height, width }: ImageShape): ImageData[] {
  const size = height * width * 4
  return Array.from({ length: rgba.length / size }, (_, i) =>
    imageOf(rgba.subarray(i * size, (i + 1) * size), width, height),
  )
}

/** @param values [count, channels, height, width] */
export function imagesOf(
  values: Float32Array,
  shape: ImageShape,
  { seed, first }: { seed: number; first: number },
): GeneratedImage[] {
  const size = shape.channels * shape.height * shape.width
  return Array.from({ length: values.length / size }, (_, i) => ({
    pixels: imageOf(toRgba(values, i, shape), shape.width, shape.height),
    values: values.subarray(i * size, (i + 1) * size),
    seed,
    index: first + i,
  }))
}

/**
 * Pictures to start from, as the network takes them: one for all that are drawn, or one for each.
 * @returns [count, channels, height, width] in [−1, 1]
 * @throws SamplerError 'bad-option' where their size or number is another
 */
export function valuesOf(
  given: ImageData | readonly ImageData[] | Float32Array,
  shape: ImageShape,
  count: number,
): Float32Array {
  if (given instanceof Float32Array) return given
  const all = 'data' in given ? Array<ImageData>(count).fill(given) : given
  if (all.length !== count) {
    throw new SamplerError('bad-option', `Found ${all.length} pictures to start from; expected ${count}.`)
  }
  return joined(all.map((image) => fromRgba(sized(image, shape, 'a picture').data, shape)))
}

/**
 * A mask as the network takes it: what is white is drawn anew, what is black or transparent stays.
 * @returns [count, channels, height, width], 0 … 1
 * @throws SamplerError 'bad-option' where its size is another
 */
export function maskOf(given: ImageData | Float32Array, shape: ImageShape, count: number): Float32Array {
  if (given instanceof Float32Array) return given
  const { data } = sized(given, shape, 'a mask')
  const plane = Float32Array.from({ length: shape.height * shape.width }, (_, pixel) => {
    const [red, green, blue, alpha] = data.subarray(pixel * 4, pixel * 4 + 4)
    return ((red! + green! + blue!) / 3 / 255) * (alpha! / 255)
  })
  return joined(Array<Float32Array>(count * shape.channels).fill(plane))
}

function sized(image: ImageData, { height, width }: ImageShape, what: string): ImageData {
  if (image.width === width && image.height === height) return image
  const found = `Found ${what} of ${image.width} × ${image.height}`
  throw new SamplerError(
    'bad-option',
    `${found}; expected ${width} × ${height}. Scale it with a canvas first.`,
  )
}

/** Numbers one after the other. */
export function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
