// The built-in sets: images that are drawn from a seed, so that there are as many as needed, and everything that an image
// shows is known. A parser recognizes whether a generated image could belong to the set, and what it shows.
import { UserError } from '@ddpm/shared'
import type { Dataset } from './dataset/dataset.ts'
import { loadArt } from './faces/art.ts'
import { attributesOf, classNameOf, createFaces, side as faceSide } from './faces/dataset.ts'
import { parseFace } from './faces/parser.ts'
import { createShapes, side as shapeSide } from './shapes/dataset.ts'
import { parseShape } from './shapes/parser.ts'

/** What an image of a built-in set shows, or the reason why it does not belong to the set. */
export type Parsed =
  | {
      /** Names or numbers that describe the image. */
      readonly factors: Readonly<Record<string, string | number>>
      /** Name of its class. */
      readonly className: string
    }
  | { readonly factors: null; readonly reason: string }

/**
 * Parses an image of a built-in set.
 * @param image [3, side, side], bytes or floats in [−1, 1]
 */
export type Parser = (image: Uint8Array | Float32Array) => Parsed

export interface BuiltInSet {
  /** Side of the images, which are square and have three channels. */
  readonly side: number
  /** Number of images if the source does not name one. */
  readonly defaultCount: number
  /** What an image shows that the parser recognizes. */
  readonly clean: string
  /** Creates the first `count` images of the set that a seed determines. */
  create(count: number, seed: number): Promise<Dataset>
  openParser(): Promise<Parser>
}

export const builtInSets = {
  shapes: {
    side: shapeSide,
    defaultCount: 4096,
    clean: 'one clean figure',
    create: async (count, seed) => createShapes(count, seed),
    openParser: async () => (image) => {
      const parsed = parseShape(image)
      if (parsed.shape === null) return { factors: null, reason: parsed.reason }
      const { figure, colour, x, y, radius } = parsed.shape
      const className = `${colour} ${figure}`
      return { factors: { figure, colour, 'figure and colour': className, x, y, radius }, className }
    },
  },
  faces: {
    side: faceSide,
    defaultCount: 20_000,
    clean: 'a clean face',
    create: createFaces,
    async openParser() {
      const art = await loadArt()
      const chosen = (choice: { readonly variant: number } | null) => String(choice?.variant ?? 'none')
      return (image) => {
        const parsed = parseFace(art, image)
        if (parsed.face === null) return { factors: null, reason: parsed.reason }
        const { background, skin, parts } = parsed.face
        const words = attributesOf(art, parsed.face)
        return {
          factors: {
            ...words,
            background: String(background),
            skin: String(skin),
            'hair style': chosen(parts.hair),
            'hair colour': String(parts.hair?.colour),
            eyes: chosen(parts.eyes),
            mouth: chosen(parts.mouth),
            clothing: chosen(parts.clothing),
          },
          className: classNameOf(words),
        }
      }
    },
  },
} as const satisfies Readonly<Record<string, BuiltInSet>>

export type BuiltInName = keyof typeof builtInSets
export const builtInNames = Object.keys(builtInSets) as BuiltInName[]

/** Returns the name of the built-in set of a source such as "faces" or "faces:1000"; null for other sources. */
export function builtInNameOf(source: string): BuiltInName | null {
  const name = source.split(':', 1)[0]!
  return builtInNames.includes(name as BuiltInName) ? (name as BuiltInName) : null
}

/** Returns the built-in set of a source, or null. */
export function builtInSetOf(source: string): BuiltInSet | null {
  const name = builtInNameOf(source)
  return name === null ? null : builtInSets[name]
}

const maxCount = 1_000_000

/**
 * Creates the images of a source such as "shapes" or "faces:1000".
 * @throws UserError if the count is invalid
 */
export function createBuiltIn(name: BuiltInName, source: string, seed: number): Promise<Dataset> {
  const { defaultCount, create }: BuiltInSet = builtInSets[name]
  const count = source === name ? defaultCount : Number(source.slice(name.length + 1))
  if (Number.isInteger(count) && count >= 1 && count <= maxCount) return create(count, seed)
  throw new UserError(
    `Invalid --data "${source}": expected ${name}:COUNT with a count from 1 to ${maxCount}.`,
  )
}
