/** Size of an image. Values are stored as [channels, height, width]. */
interface ImageShape {
  /** 1 (grey) or 3 (RGB). */
  readonly channels: number
  readonly height: number
  readonly width: number
}

/**
 * Converts values in [−1, 1] to bytes: (x + 1) · 127.5, rounded and clamped.
 * @param values any shape
 */
export function toBytes(values: ArrayLike<number>): Uint8ClampedArray<ArrayBuffer> {
  // Uint8ClampedArray rounds to the nearest integer and clamps.
  const bytes = new Uint8ClampedArray(values.length)
  for (let i = 0; i < values.length; i++) bytes[i] = (values[i]! + 1) * 127.5
  return bytes
}

/**
 * Converts one image of a batch to RGBA bytes for a canvas. A grey value is copied to R, G and B.
 * @param values [count, channels, height, width] in [−1, 1]
 * @param index index of the image in the batch
 * @param rgba output buffer, [height, width, 4]
 * @returns `rgba`
 */
export function toRgba(
  values: Float32Array,
  index: number,
  { channels, height, width }: ImageShape,
  rgba = new Uint8ClampedArray(height * width * 4),
): Uint8ClampedArray<ArrayBuffer> {
  const plane = height * width
  const start = index * channels * plane
  rgba.fill(255)
  for (let colour = 0; colour < 3; colour++) {
    const from = channels === 1 ? start : start + colour * plane
    // The same conversion as in toBytes.
    for (let i = 0; i < plane; i++) rgba[4 * i + colour] = (values[from + i]! + 1) * 127.5
  }
  return rgba
}

/**
 * Converts RGBA bytes to one image. Transparent pixels are composited over white; grey is the luma (Rec. 601).
 * @param rgba [height, width, 4]
 * @returns [channels, height, width] in [−1, 1]
 */
export function fromRgba(rgba: ArrayLike<number>, { channels, height, width }: ImageShape): Float32Array {
  const plane = height * width
  const values = new Float32Array(channels * plane)
  for (let pixel = 0; pixel < plane; pixel++) {
    const alpha = rgba[pixel * 4 + 3]! / 255
    const [red, green, blue] = [0, 1, 2].map((c) => 255 + alpha * (rgba[pixel * 4 + c]! - 255)) as [
      number,
      number,
      number,
    ]
    const colours = channels === 1 ? [0.299 * red + 0.587 * green + 0.114 * blue] : [red, green, blue]
    for (const [c, value] of colours.entries()) values[c * plane + pixel] = value / 127.5 - 1
  }
  return values
}
