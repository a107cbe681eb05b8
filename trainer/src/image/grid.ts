import { toBytes } from '@ddpm/shared'
import sharp from 'sharp'

interface ImageShape {
  readonly channels: number
  readonly height: number
  readonly width: number
}

export interface GridOptions {
  /** Images per row. Default: as square as possible. */
  readonly columns?: number
  /** Integer scale factor. Default: 2. */
  readonly scale?: number
  /** Indices of images with a red frame. Default: none. */
  readonly framed?: readonly number[]
}

/** An image of bytes: [height, width, channels]. */
interface Pixels {
  readonly data: Uint8Array
  readonly width: number
  readonly height: number
  readonly channels: 1 | 3
}

const frameColour = [220, 30, 40]

/**
 * Arranges images in a grid, scaled by an integer factor, with a white gap of 2 pixels between and around them.
 * @param values [count, channels, height, width] in [−1, 1]
 */
function gridPixels(
  values: Float32Array,
  { channels, height, width }: ImageShape,
  { columns, scale = 2, framed = [] }: GridOptions,
): Pixels {
  const size = channels * height * width
  const count = values.length / size
  const across = columns ?? Math.ceil(Math.sqrt(count))
  const down = Math.ceil(count / across)
  const gap = 2
  const [cellWidth, cellHeight] = [width * scale + gap, height * scale + gap]
  const [totalWidth, totalHeight] = [across * cellWidth + gap, down * cellHeight + gap]
  const outputs = framed.length > 0 ? 3 : (channels as 1 | 3)
  const data = new Uint8Array(totalWidth * totalHeight * outputs).fill(255)
  const bytes = toBytes(values)
  const isFramed = new Set(framed)
  for (let i = 0; i < count; i++) {
    const left = gap + (i % across) * cellWidth
    const top = gap + Math.floor(i / across) * cellHeight
    if (isFramed.has(i)) {
      for (let y = -gap; y < cellHeight; y++) {
        for (let x = -gap; x < cellWidth; x++) data.set(frameColour, 3 * ((top + y) * totalWidth + left + x))
      }
    }
    for (let y = 0; y < height * scale; y++) {
      for (let x = 0; x < width * scale; x++) {
        const from = Math.floor(y / scale) * width + Math.floor(x / scale)
        const to = ((top + y) * totalWidth + left + x) * outputs
        for (let c = 0; c < outputs; c++)
          data[to + c] = bytes[i * size + (c % channels) * height * width + from]!
      }
    }
  }
  return { data, width: totalWidth, height: totalHeight, channels: outputs }
}

/**
 * Encodes images as one PNG grid.
 * @param values [count, channels, height, width] in [−1, 1]
 */
export function gridPng(values: Float32Array, shape: ImageShape, options: GridOptions = {}): Promise<Buffer> {
  const { data, ...raw } = gridPixels(values, shape, options)
  return sharp(data, { raw }).png({ compressionLevel: 9 }).toBuffer()
}

/** Duration of a frame in milliseconds. The last frame is shown longer. */
const [frameTime, lastFrameTime] = [80, 2000]

/**
 * Encodes grids as an animated GIF that repeats.
 * @param frames [count, channels, height, width] each
 */
export function gridGif(
  frames: readonly Float32Array[],
  shape: ImageShape,
  options: GridOptions = {},
): Promise<Buffer> {
  const grids = frames.map((values) => gridPixels(values, shape, options))
  const { width, height: pageHeight, channels } = grids[0]!
  const data = Buffer.concat(grids.map((grid) => grid.data))
  return sharp(data, { raw: { width, height: pageHeight * grids.length, channels, pageHeight } })
    .gif({
      loop: 0,
      delay: grids.map((_, i) => (i === grids.length - 1 ? lastFrameTime : frameTime)),
      dither: 0,
    })
    .toBuffer()
}

/** Encodes one image of a batch as a PNG without a border. */
export function singlePng(
  values: Float32Array,
  index: number,
  { channels, height, width }: ImageShape,
  scale: number,
): Promise<Buffer> {
  const size = channels * height * width
  const planes = toBytes(values.subarray(index * size, (index + 1) * size))
  const data = new Uint8Array(size)
  const area = height * width
  for (let pixel = 0; pixel < area; pixel++) {
    for (let c = 0; c < channels; c++) data[pixel * channels + c] = planes[c * area + pixel]!
  }
  return sharp(data, { raw: { width, height, channels: channels as 1 | 3 } })
    .resize(width * scale, height * scale, { kernel: 'nearest' })
    .png({ compressionLevel: 9 })
    .toBuffer()
}
