// The art of the faces: DiceBear's "Pixel Art" (CC0 1.0), which is maintained and draws every part on a grid of 16×16
// cells. Each part is rasterized once. Faces are then composed from the rasters, which takes microseconds instead of the
// milliseconds for rendering an SVG.
import { createAvatar } from '@dicebear/core'
import * as pixelArt from '@dicebear/pixel-art'
import sharp from 'sharp'

/** Side of the grid in cells. */
export const gridSide = 16
export const cellCount = gridSide ** 2

/** Kinds of parts, in the order in which they are drawn over the head. */
export const partKinds = [
  'accessories',
  'clothing',
  'eyes',
  'glasses',
  'beard',
  'mouth',
  'hair',
  'hat',
] as const
export type PartKind = (typeof partKinds)[number]

export type Colour = readonly [red: number, green: number, blue: number]

/**
 * A raster of one part. Drawn over a cell of colour c, it gives ink · colour + white + through · c: part of a cell is painted
 * with the colour of the part, part with white or black, and through the rest the cell below is visible.
 */
export interface Layer {
  /** The cells that the layer changes. */
  readonly covered: Uint16Array
  /** [256], 0 to 1. */
  readonly ink: Float32Array
  /** [256], 0 to 255. */
  readonly white: Float32Array
  /** [256], 0 to 1. */
  readonly through: Float32Array
}

/** A part with its name in DiceBear's definition, for example "long03". */
export interface Part extends Layer {
  readonly name: string
}

/** Everything that faces are composed of. */
export interface Art {
  readonly head: Layer
  readonly parts: { readonly [K in PartKind]: readonly Part[] }
  /** Colours of the head and of the parts. A beard has the colour of the hair. */
  readonly palettes: { readonly [K in Exclude<PartKind, 'beard'> | 'skin']: readonly Colour[] }
}

let loaded: Promise<Art> | undefined

/** Loads the art: rasterizes every part, once per process. */
export function loadArt(): Promise<Art> {
  loaded ??= load()
  return loaded
}

type Ink = 'black' | 'white'
const hex = { black: '000000', white: 'ffffff' } as const

/** Rasterizes the head with one part, or without a part. @returns [256], 0 to 255; all colours are shades of grey */
async function rasterize(
  part: { readonly kind: PartKind; readonly name: string } | null,
  colours: { readonly skin: Ink | 'transparent'; readonly part: Ink; readonly background: Ink },
): Promise<Float32Array> {
  const options: Record<string, unknown> = {
    size: gridSide,
    backgroundColor: [hex[colours.background]],
    skinColor: [colours.skin === 'transparent' ? colours.skin : hex[colours.skin]],
  }
  for (const kind of partKinds) {
    options[kind] = part?.kind === kind ? [part.name] : []
    options[`${kind}Color`] = [hex[colours.part]]
    options[`${kind}Probability`] = 100
  }
  // DiceBear masks a beard with the luminance of its colour, which makes dark beards invisible. Here all are opaque.
  const svg = createAvatar(pixelArt, options)
    .toString()
    .replaceAll(/(<mask[^>]*><path[^>]*) fill="#\w{6}"/g, '$1 fill="#fff"')
  const { data, info } = await sharp(Buffer.from(svg)).raw().toBuffer({ resolveWithObject: true })
  return Float32Array.from({ length: cellCount }, (_, cell) => data[cell * info.channels]!)
}

/** Solves for the layer from three rasters: black on black, white on black, and black on white, over known backgrounds. */
function solve(
  [black, white, onWhite]: readonly [Float32Array, Float32Array, Float32Array],
  [backgroundBlack, backgroundWhite]: readonly [Float32Array, Float32Array],
): Layer {
  const through = black.map(
    (value, cell) => (onWhite[cell]! - value) / (backgroundWhite[cell]! - backgroundBlack[cell]!),
  )
  return {
    covered: Uint16Array.from([...through.keys()].filter((cell) => through[cell] !== 1)),
    ink: white.map((value, cell) => (value - black[cell]!) / 255),
    white: black.map((value, cell) => value - through[cell]! * backgroundBlack[cell]!),
    through,
  }
}

async function load(): Promise<Art> {
  const [backgroundBlack, backgroundWhite] = [
    new Float32Array(cellCount),
    new Float32Array(cellCount).fill(255),
  ]
  const head = solve(
    await Promise.all([
      rasterize(null, { skin: 'black', part: 'black', background: 'black' }),
      rasterize(null, { skin: 'white', part: 'black', background: 'black' }),
      rasterize(null, { skin: 'black', part: 'black', background: 'white' }),
    ]),
    [backgroundBlack, backgroundWhite],
  )
  // A transparent skin leaves only the highlights of the head, so that every cell shows the background.
  const bare = (background: Ink) => rasterize(null, { skin: 'transparent', part: 'black', background })
  const highlights = await Promise.all([bare('black'), bare('white')])
  const parts = async (kind: PartKind) =>
    await Promise.all(
      variantsOf(kind).map(async (name): Promise<Part> => {
        const draw = (part: Ink, background: Ink) =>
          rasterize({ kind, name }, { skin: 'transparent', part, background })
        const rasters = await Promise.all([
          draw('black', 'black'),
          draw('white', 'black'),
          draw('black', 'white'),
        ])
        return { name, ...solve(rasters, highlights) }
      }),
    )
  const entries = await Promise.all(partKinds.map(async (kind) => [kind, await parts(kind)] as const))
  const palette = (name: string) => listOf(`${name}Color`).map(parseColour)
  return {
    head,
    parts: Object.fromEntries(entries) as Record<PartKind, Part[]>,
    palettes: {
      skin: palette('skin'),
      accessories: palette('accessories'),
      clothing: palette('clothing'),
      eyes: palette('eyes'),
      glasses: palette('glasses'),
      mouth: palette('mouth'),
      hair: palette('hair'),
      hat: palette('hat'),
    },
  }
}

/** Returns the names of the variants of a part. Omits the only long hair that ends above the ears: a hat hides it. */
function variantsOf(kind: PartKind): string[] {
  return listOf(kind).filter((name) => name !== 'long14')
}

/** Returns the variants of a part or the colours of a palette, in DiceBear's definition of the style. */
function listOf(option: string): string[] {
  const properties = pixelArt.schema.properties as Readonly<Record<string, { readonly default: string[] }>>
  return [...properties[option]!.default].sort()
}

/** Parses six hexadecimal digits. */
export function parseColour(digits: string): Colour {
  const value = Number.parseInt(digits, 16)
  return [value >> 16, (value >> 8) & 255, value & 255]
}
