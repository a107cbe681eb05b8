import {
  background,
  type Colour,
  type ColourName,
  colourNames,
  palette,
  side,
  type ToyShape,
} from './shapes-dataset.ts'
import { renderFigure } from './shapes-figures.ts'
import { fitFigures } from './shapes-fit.ts'

/** What a picture reads as: one clean figure with the factors that fit it best, or the reason why not. */
export type ParsedShape =
  | { readonly shape: ToyShape; readonly error: number }
  | { readonly shape: null; readonly reason: string }

/**
 * Where "one clean figure" ends. Chosen by looking at figures bent, blurred and mixed by degrees: what passes
 * is at worst drawn with a slightly unsteady hand.
 */
export const limits = {
  /**
   * Further than this is another colour; Euclidean, 0 … 255 a channel. The set's own are 107 and more apart.
   */
  colour: 50,
  /** Part of the border's pixels that may be off the background. */
  border: 0.05,
  /** Pixels of the second largest piece, which then passes as a speck. */
  speck: 6,
  /** Part of the pixels inside the fitted figure that may be off its colour. */
  spots: 0.05,
  /**
   * A pixel's misfit that noise and soft edges explain, as a part of the contrast between ink and background.
   */
  tolerance: 0.15,
  /** Misfit beyond the tolerance, summed over the picture, as a part of the figure's area. */
  error: 0.08,
  /** The best figure's error as a part of the runner-up's: a mixture of two fits both about as well. */
  ratio: 0.5,
} as const

const area = side * side
const pixels = [...Array(area).keys()]
const border = pixels.filter((pixel) => neighbours(pixel).length < 4)

/**
 * Reads a picture as a figure of the `shapes` set, wherever it came from.
 * @param picture [3, 32, 32]; bytes, or floats in [−1, 1] (clamped)
 * @throws RangeError when it has another length
 */
export function parseShape(image: Uint8Array | Float32Array): ParsedShape {
  if (image.length !== 3 * area) {
    throw new RangeError(
      `Found a picture of ${image.length} values; expected ${3 * area} (3×${side}×${side}).`,
    )
  }
  if (image.some(Number.isNaN)) return rejected('not all of it is numbers')
  const rgb = toBytes(image)

  const paper = median(rgb, border)
  const isOff = (pixel: number, colour: Colour) => distance(rgb, pixel, colour) > limits.colour
  const offBorder = border.filter((pixel) => isOff(pixel, paper))
  if (apart(paper, background) > limits.colour || offBorder.length > limits.border * border.length) {
    return rejected('the background is not plain')
  }

  const figurePixels = inside(pixels.filter((pixel) => isOff(pixel, paper)))
  if (figurePixels.length < limits.speck) return rejected('there is no figure')
  const ink = median(rgb, figurePixels)
  const colour = nearestColour(ink)
  if (apart(ink, palette[colour]) > limits.colour) return rejected('the colour is none of the palette')

  const alpha = coverage(rgb, paper, ink)
  const [, second = 0] = pieces(alpha)
  if (second > limits.speck) return rejected('there is more than one piece')

  const fits = fitFigures(alpha, 3).map((fit) => {
    const drawn = new Float32Array(area)
    renderFigure(fit.figure, fit, side, drawn)
    return { ...fit, drawn, error: misfit(drawn, rgb, paper, ink) }
  })
  const [best, next] = fits.sort((a, b) => a.error - b.error)
  const { figure, x, y, radius, angle, drawn, error } = best!
  const core = inside(pixels.filter((pixel) => drawn[pixel]! > 0.5))
  const spots = core.filter((pixel) => isOff(pixel, ink))
  if (spots.length > limits.spots * core.length) return rejected('the figure is not of one colour throughout')
  if (error > limits.error) {
    return rejected(`no figure fits; the nearest is a ${figure} with error ${error.toFixed(3)}`)
  }
  if (error > limits.ratio * next!.error) return rejected(`it lies between a ${figure} and a ${next!.figure}`)
  return { shape: { figure, colour, x, y, radius, angle }, error }
}

function rejected(reason: string): ParsedShape {
  return { shape: null, reason }
}

/** How much of each pixel is ink: where its colour falls on the line from paper to ink, 0 … 1. */
function coverage(rgb: Float32Array, paper: Colour, ink: Colour): Float32Array {
  const contrast = apart(paper, ink) ** 2
  return Float32Array.from({ length: area }, (_, pixel) => {
    let along = 0
    for (let channel = 0; channel < 3; channel++) {
      along += (rgb[channel * area + pixel]! - paper[channel]!) * (ink[channel]! - paper[channel]!)
    }
    return Math.min(1, Math.max(0, along / contrast))
  })
}

/**
 * The picture's difference from a figure drawn in its two colours: see `limits.tolerance` and `limits.error`.
 */
function misfit(drawn: Float32Array, rgb: Float32Array, paper: Colour, ink: Colour): number {
  const contrast = apart(paper, ink)
  let excess = 0
  let figureArea = 0
  drawn.forEach((a, pixel) => {
    const expected: Colour = [mix(paper[0], ink[0], a), mix(paper[1], ink[1], a), mix(paper[2], ink[2], a)]
    excess += Math.max(0, distance(rgb, pixel, expected) / contrast - limits.tolerance)
    figureArea += a
  })
  return excess / figureArea
}

/** Pixel counts of the connected pieces of ink, largest first. */
function pieces(alpha: Float32Array): number[] {
  const unseen = Uint8Array.from(alpha, (a) => Number(a > 0.5))
  const counts: number[] = []
  for (let start = 0; start < area; start++) {
    if (!unseen[start]) continue
    unseen[start] = 0
    const piece = [start]
    for (const pixel of piece) {
      for (const next of neighbours(pixel)) {
        if (unseen[next]) piece.push(next)
        unseen[next] = 0
      }
    }
    counts.push(piece.length)
  }
  return counts.sort((a, b) => b - a)
}

/** Those of the given pixels whose neighbours are given too. */
function inside(given: readonly number[]): number[] {
  const isGiven = new Uint8Array(area)
  for (const pixel of given) isGiven[pixel] = 1
  return given.filter((pixel) => neighbours(pixel).every((next) => isGiven[next]))
}

/** The pixels above, below, left and right. */
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
    apart(ink, palette[name]) < apart(ink, palette[best]) ? name : best,
  )
}

/** The median of each channel over some pixels. */
function median(rgb: Float32Array, pixels: readonly number[]): Colour {
  const middle = (channel: number) =>
    Float32Array.from(pixels, (pixel) => rgb[channel * area + pixel]!).sort()[pixels.length >> 1]!
  return [middle(0), middle(1), middle(2)]
}

function distance(rgb: Float32Array, pixel: number, colour: Colour): number {
  return apart([rgb[pixel]!, rgb[area + pixel]!, rgb[2 * area + pixel]!], colour)
}

function apart(a: Colour, b: Colour): number {
  return Math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2)
}

function mix(from: number, to: number, part: number): number {
  return from + part * (to - from)
}

function toBytes(image: Uint8Array | Float32Array): Float32Array {
  if (image instanceof Uint8Array) return Float32Array.from(image)
  return image.map((x) => Math.min(255, Math.max(0, (x + 1) * 127.5)))
}
