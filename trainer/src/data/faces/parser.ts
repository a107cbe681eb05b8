import { type Art, type Colour, cellCount, gridSide, type Layer, type PartKind, partKinds } from './art.ts'
import { backgrounds, type Choice, composeFace, drawLayer, type Face, layersOf, side } from './dataset.ts'

/** Result of parsing an image: the factors of the face, or the reason why the image is no clean face. */
export type ParsedFace =
  | { readonly face: Face; readonly wrongCells: number }
  | { readonly face: null; readonly reason: string }

/** Thresholds for "a clean face". Colours are compared by their Euclidean distance, 0 to 255 per channel. */
export const limits = {
  /** Max distance of a pixel from the mean of its cell. */
  cell: 40,
  /** Max cells whose pixels differ more. */
  unevenCells: 5,
  /** Max distance of a cell from the best face. */
  colour: 60,
  /** Max cells that differ more. The smallest parts, the mouths, have three to eight cells. */
  wrongCells: 3,
} as const

/** Distances beyond this one count the same, so that a few wrong cells do not change what the others say. */
const maxDistance = 100
/** Optional parts are assumed only if they reduce the sum of the distances by this much. */
const minGain = 60
const maxSweeps = 6

/**
 * Parses an image as a face of the set: finds the parts and colours whose composition is most similar. One part at a
 * time is replaced by the best one until none improves the similarity (coordinate descent).
 * @param image [3, 32, 32], bytes or floats in [−1, 1] (clamped)
 * @throws RangeError if it has another length
 */
export function parseFace(art: Art, image: Uint8Array | Float32Array): ParsedFace {
  if (image.length !== 3 * side * side) {
    throw new RangeError(
      `Invalid image: expected ${3 * side * side} values (3×${side}×${side}), got ${image.length}.`,
    )
  }
  if (image.some(Number.isNaN)) return { face: null, reason: 'some values are not numbers' }
  const { cells, uneven } = toCells(image)
  if (uneven > limits.unevenCells) return { face: null, reason: 'it is not on the grid of cells' }
  let best: { readonly face: Face; readonly wrongCells: number } | null = null
  for (const order of fittingOrders) {
    const face = fitFace(art, cells, order)
    const wrongCells = countWrongCells(cells, composeFace(art, face))
    if (best === null || wrongCells < best.wrongCells) best = { face, wrongCells }
    if (wrongCells === 0) break
  }
  return best!.wrongCells > limits.wrongCells ? { face: null, reason: 'no combination of parts fits' } : best!
}

function countWrongCells(cells: Float32Array, composed: Float32Array): number {
  let wrong = 0
  for (let cell = 0; cell < cellCount; cell++) {
    if (distance(cells, composed, cell) > limits.colour) wrong++
  }
  return wrong
}

/**
 * Orders in which the parts are fitted. The search may end in a local optimum, mostly because hair is taken for a hat or the
 * other way round. Then the next order is tried.
 */
const fittingOrders: readonly (readonly PartKind[])[] = [
  ['clothing', 'hair', 'hat', 'beard', 'glasses', 'eyes', 'mouth', 'accessories'],
  ['hat', 'clothing', 'eyes', 'glasses', 'mouth', 'beard', 'hair', 'accessories'],
  ['eyes', 'mouth', 'hair', 'beard', 'clothing', 'hat', 'glasses', 'accessories'],
  ['hat', 'glasses', 'eyes', 'clothing', 'mouth', 'hair', 'beard', 'accessories'],
]

/** Averages the 2×2 pixels of each cell, and counts the cells whose pixels differ. @returns [3, 256], 0 to 255 */
function toCells(image: Uint8Array | Float32Array): { cells: Float32Array; uneven: number } {
  const bytes =
    image instanceof Uint8Array ? image : image.map((x) => Math.min(255, Math.max(0, (x + 1) * 127.5)))
  const cells = new Float32Array(3 * cellCount)
  const corners = [0, 1, side, side + 1]
  let uneven = 0
  for (let cell = 0; cell < cellCount; cell++) {
    const start = 2 * (Math.floor(cell / gridSide) * side + (cell % gridSide))
    const squares = corners.map(() => 0)
    for (let channel = 0; channel < 3; channel++) {
      const values = corners.map((corner) => bytes[channel * side * side + start + corner]!)
      const mean = values.reduce((sum, value) => sum + value, 0) / 4
      cells[channel * cellCount + cell] = mean
      for (const [i, value] of values.entries()) squares[i]! += (value - mean) ** 2
    }
    if (Math.sqrt(Math.max(...squares)) > limits.cell) uneven++
  }
  return { cells, uneven }
}

/** Finds the face that is most similar to the cells. */
function fitFace(art: Art, cells: Float32Array, order: readonly PartKind[]): Face {
  let face: Face = {
    background: nearest(backgrounds, borderColour(cells)),
    skin: 0,
    parts: Object.fromEntries(partKinds.map((kind) => [kind, null])) as Face['parts'],
  }
  for (let sweep = 0, last = ''; sweep < maxSweeps; sweep++) {
    face = { ...face, skin: bestLayer(art, face, cells, 'skin')!.colour }
    for (const kind of order) {
      face = withPart(face, kind, bestLayer(art, face, cells, kind))
    }
    const current = JSON.stringify(face)
    if (current === last) break
    last = current
  }
  return fitBehindGlasses(art, face, cells)
}

const withPart = (face: Face, kind: PartKind, choice: Choice | null): Face => ({
  ...face,
  parts: { ...face.parts, [kind]: choice },
})

/** Fits glasses and eyes together, because clear glasses over some eyes resemble tinted glasses over others. */
function fitBehindGlasses(art: Art, face: Face, cells: Float32Array): Face {
  if (face.parts.glasses === null) return face
  const candidates = art.parts.glasses.map((_, variant) => {
    const glasses = bestLayer(art, face, cells, 'glasses', variant)
    const candidate = withPart(face, 'glasses', glasses)
    return withPart(candidate, 'eyes', bestLayer(art, candidate, cells, 'eyes'))
  })
  const costs = candidates.map((candidate) => dissimilarity(cells, composeFace(art, candidate)))
  return candidates[costs.indexOf(Math.min(...costs))]!
}

/** Returns the sum of the distances of all cells. */
function dissimilarity(cells: Float32Array, composed: Float32Array): number {
  let sum = 0
  for (let cell = 0; cell < cellCount; cell++) sum += Math.min(maxDistance, distance(cells, composed, cell))
  return sum
}

const optionalParts: readonly PartKind[] = ['accessories', 'glasses', 'beard', 'hat']

/**
 * Finds the variant and the colour of one layer for which the face is most similar, when all other layers stay.
 * @param onlyVariant the only variant to consider
 * @returns null if the part is optional and no variant is similar
 */
function bestLayer(
  art: Art,
  face: Face,
  cells: Float32Array,
  kind: PartKind | 'skin',
  onlyVariant: number | null = null,
): Choice | null {
  const { below, above } = surroundings(art, face, kind)
  const variants: readonly Layer[] = kind === 'skin' ? [art.head] : art.parts[kind]
  const palette = art.palettes[kind === 'beard' ? 'hair' : kind]
  const cost = (cell: number, layer: Layer | null, colour: Colour) => {
    let sum = 0
    for (let channel = 0; channel < 3; channel++) {
      const at = channel * cellCount + cell
      const under = below[at]!
      const value =
        layer === null
          ? under
          : layer.ink[cell]! * colour[channel]! + layer.white[cell]! + layer.through[cell]! * under
      sum += (above.add[at]! + above.through[cell]! * value - cells[at]!) ** 2
    }
    return Math.min(maxDistance, Math.sqrt(sum))
  }
  const without = Float32Array.from({ length: cellCount }, (_, cell) => cost(cell, null, [0, 0, 0]))
  let best: Choice | null = null
  const isOptional = onlyVariant === null && optionalParts.includes(kind as PartKind)
  let bestGain = isOptional ? minGain : Number.NEGATIVE_INFINITY
  for (const [variant, layer] of variants.entries()) {
    if (onlyVariant !== null && variant !== onlyVariant) continue
    for (const [index, colour] of palette.entries()) {
      let gain = 0
      for (const cell of layer.covered) gain += without[cell]! - cost(cell, layer, colour)
      if (gain > bestGain) {
        bestGain = gain
        best = { variant, colour: index }
      }
    }
  }
  return best
}

/**
 * Composes what is below a layer, and what is drawn above it: over a cell of colour c, the layers above give
 * add + through · c.
 */
function surroundings(art: Art, face: Face, kind: PartKind | 'skin') {
  const order = ['skin', ...partKinds] as const
  const position = order.indexOf(kind)
  const only = (kinds: readonly string[]): Face => ({
    ...face,
    parts: Object.fromEntries(
      partKinds.map((part) => [part, kinds.includes(part) ? face.parts[part] : null]),
    ) as Face['parts'],
  })
  const below = new Float32Array(3 * cellCount)
  backgrounds[face.background]!.forEach((value, channel) => {
    below.fill(value, channel * cellCount, (channel + 1) * cellCount)
  })
  const [head, ...lower] = layersOf(art, only(order.slice(0, position)))
  if (kind !== 'skin') for (const layer of [head!, ...lower]) drawLayer(below, ...layer)
  const add = new Float32Array(3 * cellCount)
  const through = new Float32Array(cellCount).fill(1)
  for (const [layer, colour] of layersOf(art, only(order.slice(position + 1))).slice(1)) {
    drawLayer(add, layer, colour)
    for (const cell of layer.covered) through[cell]! *= layer.through[cell]!
  }
  return { below, above: { add, through } }
}

/** Returns the median colour of the cells at the upper left and right border, which no part covers completely. */
function borderColour(cells: Float32Array): Colour {
  const border = [...Array(12).keys()].flatMap((row) => [row * gridSide, row * gridSide + gridSide - 1])
  const middle = (channel: number) =>
    Float32Array.from(border, (cell) => cells[channel * cellCount + cell]!).sort()[border.length >> 1]!
  return [middle(0), middle(1), middle(2)]
}

function nearest(palette: readonly Colour[], [red, green, blue]: Colour): number {
  const distances = palette.map((colour) => Math.hypot(colour[0] - red, colour[1] - green, colour[2] - blue))
  return distances.indexOf(Math.min(...distances))
}

/** Returns the distance between the colours of a cell. */
function distance(a: Float32Array, b: Float32Array, cell: number): number {
  let sum = 0
  for (let at = cell; at < a.length; at += cellCount) sum += (a[at]! - b[at]!) ** 2
  return Math.sqrt(sum)
}
