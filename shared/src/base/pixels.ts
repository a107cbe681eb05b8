/**
 * Values in [−1, 1] as bytes: (x + 1) · 127.5, rounded and clamped.
 * @param values any shape
 */
export function toBytes(values: ArrayLike<number>): Uint8ClampedArray<ArrayBuffer> {
  // Uint8ClampedArray rounds to the nearest integer and clamps.
  const bytes = new Uint8ClampedArray(values.length)
  for (let i = 0; i < values.length; i++) bytes[i] = (values[i]! + 1) * 127.5
  return bytes
}

/**
 * One picture as the RGBA bytes that canvases take; grey is repeated over the three colours.
 * @param values [count, channels, height, width] in [−1, 1], channels 1 or 3
 * @param index which picture
 * @param rgba filled and returned, [height, width, 4]
 */
export function toRgba(
  values: Float32Array,
  index: number,
  { channels, height, width }: { channels: number; height: number; width: number },
  rgba = new Uint8ClampedArray(height * width * 4),
): Uint8ClampedArray<ArrayBuffer> {
  const plane = height * width
  const start = index * channels * plane
  rgba.fill(255)
  for (let colour = 0; colour < 3; colour++) {
    const from = channels === 1 ? start : start + colour * plane
    // As toBytes has it.
    for (let i = 0; i < plane; i++) rgba[4 * i + colour] = (values[from + i]! + 1) * 127.5
  }
  return rgba
}

/**
 * RGBA bytes as one picture, over white where they are transparent; grey is their luma (Rec. 601).
 * @param rgba [height, width, 4]
 * @returns [channels, height, width] in [−1, 1]
 */
export function fromRgba(
  rgba: ArrayLike<number>,
  { channels, height, width }: { channels: number; height: number; width: number },
): Float32Array {
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
