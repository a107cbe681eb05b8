type Pixels = Pick<ImageData, 'data' | 'width' | 'height'>

/**
 * Finds the background colour of images: the median colour of their borders, if at least 80 % of the border pixels are
 * close to it, otherwise white.
 */
export function findBackground(images: readonly Pixels[]): { colour: string; isDark: boolean } {
  const border = images.flatMap(borderPixels)
  const rgb = [0, 1, 2].map((i) => upperMedian(border.map((pixel) => pixel[i]!)))
  const similar = border.filter((pixel) => rgb.every((value, i) => Math.abs(pixel[i]! - value) <= 24))
  const [r, g, b] = similar.length > 0.8 * border.length ? rgb : [255, 255, 255]
  const colour = `#${[r, g, b].map((value) => value!.toString(16).padStart(2, '0')).join('')}`
  return { colour, isDark: 0.299 * r! + 0.587 * g! + 0.114 * b! < 128 }
}

/** Returns R, G and B of the outermost pixels. */
function borderPixels({ data, width, height }: Pixels): Uint8ClampedArray[] {
  return Array.from({ length: width * height }, (_, i) => i)
    .filter((i) => i < width || i >= width * (height - 1) || i % width === 0 || i % width === width - 1)
    .map((i) => data.subarray(4 * i, 4 * i + 3))
}

/** Returns the median; for an even number of values, the larger of the two middle ones, so that it is an integer. */
function upperMedian(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1]!
}
