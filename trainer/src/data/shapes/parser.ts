import {
  background,
  type Colour,
  type ColourName,
  colourNames,
  palette,
  side,
  type ToyShape,
} from './dataset.ts'
import { renderFigure } from './figures.ts'
import { fitFigures } from './fit.ts'

/** Result of parsing an image: the factors of the figure, or the reason why the image does not show exactly one clear figure. */
export type ParsedShape =
  | { readonly shape: ToyShape; readonly error: number }
  | { readonly shape: null; readonly reason: string }

/**
 * Thresholds for "one clean figure". They were chosen by inspecting figures that were bent, blurred and mixed more and
 * more: the worst figures that pass are slightly irregular.
 */
export const limits = {
  /** Max Euclidean distance between equal colours, 0 to 255 per channel. The colours of the set differ by 107 or more. */
  colour: 50,
  /** Max fraction of border pixels that differ from the background. */
  border: 0.05,
  /** Max pixels of the second largest connected piece. Pieces up to this size are ignored as specks. */
  speck: 6,
  /** Max fraction of pixels inside the fitted figure that differ from its colour. */
  spots: 0.05,
  /** Error per pixel that is attributed to noise and soft edges, as a fraction of the contrast to the background. */
  tolerance: 0.15,
  /** Max error beyond the tolerance, summed over the image, as a fraction of the area of the figure. */
  error: 0.08,
  /** Max error of the best figure, relative to the second best. A mixture of two figures fits both about equally. */
  ratio: 0.5,
} as const

const area = side * side
const pixels = [...Array(area).keys()]
const border = pixels.filter((pixel) => neighbours(pixel).length < 4)

/**
 * Parses an image as a figure of the `shapes` set.
 * @param image [3, 32, 32], bytes or floats in [−1, 1] (clamped)
 * @throws RangeError if it has another length
 */
export function parseShape(image: Uint8Array | Float32Array): ParsedShape {
  if (image.length !== 3 * area) {
    throw new RangeError(
      `Invalid image: expected ${3 * area} values (3×${side}×${side}), got ${image.length}.`,
    )
  }
  if (image.some(Number.isNaN)) return rejected('some values are not numbers')
  const rgb = toBytes(image)

  const paper = upperMedian(rgb, border)
  const differs = (pixel: number, colour: Colour) => distance(rgb, pixel, colour) > limits.colour
  const offBorder = border.filter((pixel) => differs(pixel, paper))
  if (colourDistance(paper, background) > limits.colour || offBorder.length > limits.border * border.length) {
    return rejected('the background is not plain')
  }

  const figurePixels = erode(pixels.filter((pixel) => differs(pixel, paper)))
  if (figurePixels.length < limits.speck) return rejected('there is no figure')
  const ink = upperMedian(rgb, figurePixels)
  const colour = nearestColour(ink)
  if (colourDistance(ink, palette[colour]) > limits.colour)
    return rejected('the colour is not in the palette')

  const alpha = coverage(rgb, paper, ink)
  const [, second = 0] = components(alpha)
  if (second > limits.speck) return rejected('there is more than one piece')

  const fits = fitFigures(alpha, 3).map((fit) => {
    const rendered = new Float32Array(area)
    renderFigure(fit.figure, fit, side, rendered)
    return { ...fit, rendered, error: fitError(rendered, rgb, paper, ink) }
  })
  const [best, next] = fits.sort((a, b) => a.error - b.error)
  const { figure, x, y, radius, angle, rendered, error } = best!
  const core = erode(pixels.filter((pixel) => rendered[pixel]! > 0.5))
  const spots = core.filter((pixel) => differs(pixel, ink))
  if (spots.length > limits.spots * core.length) return rejected('the figure has more than one colour')
  if (error > limits.error) {
    return rejected(`no figure fits; the nearest is a ${figure} with error ${error.toFixed(3)}`)
  }
  if (error > limits.ratio * next!.error)
    return rejected(`it is ambiguous between a ${figure} and a ${next!.figure}`)
  return { shape: { figure, colour, x, y, radius, angle }, error }
}

function rejected(reason: string): ParsedShape {
  return { shape: null, reason }
}

/** Computes the fraction of ink in each pixel by projecting its colour on the line from paper to ink, 0 to 1. */
function coverage(rgb: Float32Array, paper: Colour, ink: Colour): Float32Array {
  const contrast = colourDistance(paper, ink) ** 2
  return Float32Array.from({ length: area }, (_, pixel) => {
    let along = 0
    for (let channel = 0; channel < 3; channel++) {
      along += (rgb[channel * area + pixel]! - paper[channel]!) * (ink[channel]! - paper[channel]!)
    }
    return Math.min(1, Math.max(0, along / contrast))
  })
}

/** Computes the error between an image and a figure rendered in its two colours. See `limits.tolerance`, `limits.error`. */
function fitError(alpha: Float32Array, rgb: Float32Array, paper: Colour, ink: Colour): number {
  const contrast = colourDistance(paper, ink)
  let excess = 0
  let figureArea = 0
  alpha.forEach((a, pixel) => {
    const expected: Colour = [mix(paper[0], ink[0], a), mix(paper[1], ink[1], a), mix(paper[2], ink[2], a)]
    excess += Math.max(0, distance(rgb, pixel, expected) / contrast - limits.tolerance)
    figureArea += a
  })
  return excess / figureArea
}

/** Returns the pixel counts of the connected components of the figure, largest first. */
function components(alpha: Float32Array): number[] {
  const unvisited = Uint8Array.from(alpha, (a) => Number(a > 0.5))
  const counts: number[] = []
  for (let start = 0; start < area; start++) {
    if (!unvisited[start]) continue
    unvisited[start] = 0
    const component = [start]
    for (const pixel of component) {
      for (const next of neighbours(pixel)) {
        if (unvisited[next]) component.push(next)
        unvisited[next] = 0
      }
    }
    counts.push(component.length)
  }
  return counts.sort((a, b) => b - a)
}

/** Erodes a set of pixels: returns those whose neighbours all belong to the set. */
function erode(region: readonly number[]): number[] {
  const isInside = new Uint8Array(area)
  for (const pixel of region) isInside[pixel] = 1
  return region.filter((pixel) => neighbours(pixel).every((next) => isInside[next]))
}

/** Returns the pixels above, below, left and right. */
function neighbours(pixel: number): number[] {
  const column = pixel % side
  const out: number[] = []
  if (column > 0) out.push(pixel - 1)
  if (column < side - 1) out.push(pixel + 1)
  if (pixel >= side) out.push(pixel - side)
  if (pixel < area - side) out.push(pixel + side)
  return out
}

function nearestColour(ink: Colour): ColourName {
  return colourNames.reduce((best, name) =>
    colourDistance(ink, palette[name]) < colourDistance(ink, palette[best]) ? name : best,
  )
}

/** Returns the upper median of each channel over some pixels. */
function upperMedian(rgb: Float32Array, pixels: readonly number[]): Colour {
  const middle = (channel: number) =>
    Float32Array.from(pixels, (pixel) => rgb[channel * area + pixel]!).sort()[pixels.length >> 1]!
  return [middle(0), middle(1), middle(2)]
}

function distance(rgb: Float32Array, pixel: number, colour: Colour): number {
  return colourDistance([rgb[pixel]!, rgb[area + pixel]!, rgb[2 * area + pixel]!], colour)
}

function colourDistance(a: Colour, b: Colour): number {
  return Math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)
}

function mix(from: number, to: number, part: number): number {
  return from + part * (to - from)
}

function toBytes(image: Uint8Array | Float32Array): Float32Array {
  if (image instanceof Uint8Array) return Float32Array.from(image)
  return image.map((x) => Math.min(255, Math.max(0, (x + 1) * 127.5)))
}
