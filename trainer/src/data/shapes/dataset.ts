import { domains, uniforms } from '@ddpm/shared'
import type { Dataset } from '../dataset/dataset.ts'
import { type Figure, figures, type Pose, renderFigure } from './figures.ts'

/**
 * Side of the images of the built-in toy set in pixels. Each image shows one figure in a flat colour on a paper-coloured
 * background, labelled with colour and figure. The set suits a small network that trains for minutes: large figures, six
 * distinct colours, one background, and little variation of position, size and angle.
 */
export const side = 32
export const background: Colour = [250, 244, 232]
export const palette = {
  red: [226, 62, 54],
  amber: [246, 174, 33],
  green: [62, 158, 90],
  blue: [42, 111, 219],
  violet: [124, 60, 172],
  pink: [242, 128, 176],
} as const satisfies Record<string, Colour>

export type Colour = readonly [red: number, green: number, blue: number]
export type ColourName = keyof typeof palette
export const colourNames = Object.keys(palette) as ColourName[]

/** Ranges of the uniformly distributed factors, in pixels and radians. */
export const ranges = {
  centre: [side / 2 - 1, side / 2 + 1],
  radius: [8.5, 10.5],
  angle: [-0.1, 0.1],
} as const

/** The factors that determine an image of the set. */
export interface ToyShape extends Pose {
  readonly figure: Figure
  readonly colour: ColourName
}

/** Returns the factors of image `index`, which depend only on the seed and the index. Round figures have angle 0. */
export function shapeAt(seed: number, index: number): ToyShape {
  const u = uniforms(seed, { domain: domains.shapes, image: index, step: 0 }, 6)
  const figure = figures[Math.floor(u[0]! * figures.length)]!
  return {
    figure,
    colour: colourNames[Math.floor(u[1]! * colourNames.length)]!,
    x: between(ranges.centre, u[2]!),
    y: between(ranges.centre, u[3]!),
    radius: between(ranges.radius, u[4]!),
    angle: isRound(figure) ? 0 : between(ranges.angle, u[5]!),
  }
}

/** Returns whether a rotation does not change the figure. */
export function isRound(figure: Figure): boolean {
  return figure === 'circle' || figure === 'ring'
}

/**
 * Renders a shape.
 * @param out receives [3, 32, 32] bytes, starting at `offset`
 */
export function renderShape(shape: ToyShape, out: Uint8Array, offset = 0): void {
  const alpha = new Float32Array(side * side)
  renderFigure(shape.figure, shape, side, alpha)
  const ink = palette[shape.colour]
  for (let channel = 0; channel < 3; channel++) {
    const paper = background[channel]!
    const contrast = ink[channel]! - paper
    for (const a of alpha) out[offset++] = Math.round(paper + a * contrast)
  }
}

/** Creates the first `count` images of the set that a seed determines. */
export function createShapes(count: number, seed: number): Dataset {
  const size = 3 * side * side
  const pixels = new Uint8Array(count * size)
  const labels = new Uint16Array(count)
  const classes = colourNames.flatMap((colour) => figures.map((figure) => `${colour} ${figure}`))
  for (let index = 0; index < count; index++) {
    const shape = shapeAt(seed, index)
    renderShape(shape, pixels, index * size)
    labels[index] = classes.indexOf(`${shape.colour} ${shape.figure}`)
  }
  return { name: 'shapes', channels: 3, height: side, width: side, count, classes, pixels, labels }
}

function between([low, high]: readonly [number, number], u: number): number {
  return low + u * (high - low)
}
