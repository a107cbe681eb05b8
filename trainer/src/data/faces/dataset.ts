import { domains, uniforms } from '@ddpm/shared'
import type { Dataset } from '../dataset/dataset.ts'
import {
  type Art,
  type Colour,
  cellCount,
  gridSide,
  type Layer,
  loadArt,
  type PartKind,
  parseColour,
} from './art.ts'

/** Side of the images in pixels. Each cell of the art is a square of 2×2 pixels. */
export const side = 2 * gridSide

/** Colours of the background: the pastels that DiceBear suggests, and two more. */
export const backgrounds = ['b6e3f4', 'c0aede', 'd1d4f9', 'ffd5dc', 'ffdfbf', 'c9ecc4'].map(parseColour)

/** A part of a face: index of the variant and index of the colour. */
export interface Choice {
  readonly variant: number
  readonly colour: number
}

/** The factors that determine a face. */
export interface Face {
  /** Index of the background. */
  readonly background: number
  /** Index of the colour of the skin. */
  readonly skin: number
  /** The parts; null for a part that is missing. */
  readonly parts: { readonly [K in PartKind]: Choice | null }
}

/** Words of each attribute of a face; '' for the absence of something. Their combinations are the classes. */
export const attributes = {
  hair: ['short hair', 'long hair'],
  beard: ['', 'beard'],
  glasses: ['', 'glasses', 'sunglasses'],
  hat: ['', 'hat'],
  mood: ['serious', 'smiling'],
} as const
export type Attribute = keyof typeof attributes
export type Attributes = { readonly [A in Attribute]: (typeof attributes)[A][number] }
export const attributeNames = Object.keys(attributes) as Attribute[]

/** Every combination of attributes that occurs: only short hair is combined with beards. */
const combinations = attributeNames
  .reduce<readonly Partial<Attributes>[]>(
    (partial, name) =>
      attributes[name].flatMap((word) => partial.map((combination) => ({ ...combination, [name]: word }))),
    [{}],
  )
  .filter(({ hair, beard }) => hair === 'short hair' || beard === '') as readonly Attributes[]

/** The classes, which are equally frequent: the words of a combination, for example "long hair, sunglasses, hat, smiling". */
export const classes: readonly string[] = combinations.map(classNameOf)

/** Returns the name of the class of a face with these attributes. */
export function classNameOf(words: Attributes): string {
  return attributeNames
    .map((name) => words[name])
    .filter((word) => word !== '')
    .join(', ')
}

/** Probability of an accessory, such as earrings. */
const accessoryProbability = 0.15

/** Returns the face `index`, which depends only on the art, the seed and the index. */
export function faceAt({ parts, palettes }: Art, seed: number, index: number): Face {
  const numbers = uniforms(seed, { domain: domains.faces, image: index, step: 0 }, 20)
  let used = 0
  const pick = (count: number) => Math.floor(numbers[used++]! * count)
  const part = (kind: Exclude<PartKind, 'beard'>, prefix = ''): Choice => {
    const variants = [...parts[kind].keys()].filter((variant) =>
      parts[kind][variant]!.name.startsWith(prefix),
    )
    return { variant: variants[pick(variants.length)]!, colour: pick(palettes[kind].length) }
  }
  const words = combinations[pick(combinations.length)]!
  const hair = part('hair', words.hair === 'long hair' ? 'long' : 'short')
  const glasses = part('glasses', words.glasses === 'sunglasses' ? 'dark' : 'light')
  const hat = part('hat')
  const beard = { variant: pick(parts.beard.length), colour: hair.colour }
  const hasAccessory = numbers[used++]! < accessoryProbability
  const accessories = part('accessories')
  return {
    background: pick(backgrounds.length),
    skin: pick(palettes.skin.length),
    parts: {
      hair,
      beard: words.beard === '' ? null : beard,
      glasses: words.glasses === '' ? null : glasses,
      hat: words.hat === '' ? null : hat,
      accessories: hasAccessory ? accessories : null,
      mouth: part('mouth', words.mood === 'smiling' ? 'happy' : 'sad'),
      eyes: part('eyes'),
      clothing: part('clothing'),
    },
  }
}

/** Returns the attributes of a face. */
export function attributesOf({ parts }: Art, { parts: chosen }: Face): Attributes {
  const startsWith = (kind: PartKind, prefix: string) => {
    const choice = chosen[kind]
    return choice !== null && parts[kind][choice.variant]!.name.startsWith(prefix)
  }
  return {
    hair: startsWith('hair', 'long') ? 'long hair' : 'short hair',
    beard: chosen.beard === null ? '' : 'beard',
    glasses: chosen.glasses === null ? '' : startsWith('glasses', 'dark') ? 'sunglasses' : 'glasses',
    hat: chosen.hat === null ? '' : 'hat',
    mood: startsWith('mouth', 'happy') ? 'smiling' : 'serious',
  }
}

/** Returns the layers of a face in the order in which they are drawn over the background, with their colours. */
export function layersOf({ head, parts, palettes }: Art, face: Face): [layer: Layer, colour: Colour][] {
  const drawn = (Object.keys(parts) as PartKind[]).flatMap((kind): [Layer, Colour][] => {
    const choice = face.parts[kind]
    const palette = palettes[kind === 'beard' ? 'hair' : kind]
    return choice === null ? [] : [[parts[kind][choice.variant]!, palette[choice.colour]!]]
  })
  return [[head, palettes.skin[face.skin]!], ...drawn]
}

/** Draws a layer over cells. @param cells [3, 256], 0 to 255 */
export function drawLayer(
  cells: Float32Array,
  { covered, ink, white, through }: Layer,
  colour: Colour,
): void {
  for (const cell of covered) {
    for (let channel = 0, at = cell; channel < 3; channel++, at += cellCount) {
      cells[at] = ink[cell]! * colour[channel]! + white[cell]! + through[cell]! * cells[at]!
    }
  }
}

/** Composes the cells of a face. @returns [3, 256], 0 to 255 */
export function composeFace(art: Art, face: Face): Float32Array {
  const cells = new Float32Array(3 * cellCount)
  backgrounds[face.background]!.forEach((value, channel) => {
    cells.fill(value, channel * cellCount, (channel + 1) * cellCount)
  })
  for (const [layer, colour] of layersOf(art, face)) drawLayer(cells, layer, colour)
  return cells
}

/**
 * Renders a face.
 * @param out receives [3, 32, 32] bytes, starting at `offset`
 */
export function renderFace(art: Art, face: Face, out: Uint8Array, offset = 0): void {
  const cells = composeFace(art, face)
  for (let channel = 0, to = offset; channel < 3; channel++) {
    for (let row = 0; row < side; row++) {
      const from = channel * cellCount + (row >> 1) * gridSide
      for (let column = 0; column < side; column++) out[to++] = Math.round(cells[from + (column >> 1)]!)
    }
  }
}

/** Creates the first `count` faces of the set that a seed determines. */
export async function createFaces(count: number, seed: number): Promise<Dataset> {
  const art = await loadArt()
  const size = 3 * side * side
  const pixels = new Uint8Array(count * size)
  const labels = new Uint16Array(count)
  for (let index = 0; index < count; index++) {
    const face = faceAt(art, seed, index)
    renderFace(art, face, pixels, index * size)
    labels[index] = classes.indexOf(classNameOf(attributesOf(art, face)))
  }
  return { name: 'faces', channels: 3, height: side, width: side, count, classes, pixels, labels }
}
