import { toBytes } from '@ddpm/shared'
import sharp from 'sharp'

interface PictureShape {
  readonly channels: number
  readonly height: number
  readonly width: number
}

/**
 * Pictures side by side as one PNG, enlarged by whole pixels, two pixels of white between them.
 * @param values [count, channels, height, width] in [−1, 1]
 * @param columns pictures per row; as square as possible unless told
 */
export function gridPng(
  values: Float32Array,
  { channels, height, width }: PictureShape,
  { columns, scale = 2 }: { columns?: number; scale?: number } = {},
): Promise<Buffer> {
  const size = channels * height * width
  const count = values.length / size
  const across = columns ?? Math.ceil(Math.sqrt(count))
  const down = Math.ceil(count / across)
  const gap = 2
  const [cellWidth, cellHeight] = [width * scale + gap, height * scale + gap]
  const [totalWidth, totalHeight] = [across * cellWidth + gap, down * cellHeight + gap]
  const pixels = new Uint8Array(totalWidth * totalHeight * channels).fill(255)
  const bytes = toBytes(values)
  for (let i = 0; i < count; i++) {
    const left = gap + (i % across) * cellWidth
    const top = gap + Math.floor(i / across) * cellHeight
    for (let y = 0; y < height * scale; y++) {
      for (let x = 0; x < width * scale; x++) {
        const from = Math.floor(y / scale) * width + Math.floor(x / scale)
        const to = ((top + y) * totalWidth + left + x) * channels
        for (let c = 0; c < channels; c++) pixels[to + c] = bytes[i * size + c * height * width + from]!
      }
    }
  }
  const raw = { width: totalWidth, height: totalHeight, channels: channels as 1 | 3 }
  return sharp(pixels, { raw }).png({ compressionLevel: 9 }).toBuffer()
}
