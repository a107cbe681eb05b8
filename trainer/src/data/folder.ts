import { type Dirent, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, join, relative, resolve, sep } from 'node:path'
import { UserError } from '@ddpm/shared'
import { formatBytes } from '../support/files.ts'
import type { Dataset } from './dataset.ts'
import { type DecodeOptions, decode, forEachConcurrently, type ImageKind } from './decode.ts'

export interface FolderOptions extends DecodeOptions {
  /** Bytes of pictures that are held in memory; the others are left in their files. All are held unless told. */
  readonly cache?: number | undefined
  readonly onProgress?: ((done: number, total: number) => void) | undefined
  readonly onWarning?: ((message: string) => void) | undefined
}

/** The part of the pictures that may be beyond reading: those are named and left out. */
const spoiledAtMost = 0.01

const imageName = /\.(png|jpe?g|webp)$/i

/**
 * Reads a folder of PNG, JPEG and WebP. Folders inside it are classes: whatever lies below `cats/` is a cat.
 * A flat folder is unlabelled. Pictures come in the order of their paths; what becomes of each is told at `decode`.
 * All are decoded once, so that whatever cannot be read is named and left out before training begins; the first of
 * them stay in memory, as many as `cache` has room for.
 * @throws UserError when there are no pictures, some lie in the folder and others in folders inside it, more than 1 %
 *   cannot be read, or grey files are mixed with colour and `channels` is auto
 */
export async function readFolder(folder: string, options: FolderOptions): Promise<Dataset> {
  const { size, channels, onWarning } = options
  const paths = await listImages(folder, onWarning)
  const labelled = areLabelled(folder, paths)
  const classOf = (path: string) => path.slice(0, path.indexOf('/'))
  const classes = labelled ? [...new Set(paths.map(classOf))] : []
  if (classes.length === 1) {
    onWarning?.(
      `All pictures of ${folder} are in one class, "${classes[0]}". If the folders inside that are the classes, ` +
        `give ${join(folder, classes[0]!)} instead.`,
    )
  }

  const { pixels: all, held, stored, kinds } = await decodeAll(folder, paths, options)
  const read = paths.flatMap((path, index) => (kinds[index] ? [{ path, index, ...kinds[index] }] : []))
  const depth = channels === 'auto' ? chooseChannels(read, onWarning) : channels
  // Closes the gaps: of colourless RGB the first channel is the grey. Every part moves towards the beginning.
  const bytes = depth * size * size
  const inMemory = read.filter(({ index }) => index < held)
  inMemory.forEach(({ index }, to) => {
    all.copyWithin(to * bytes, index * stored, index * stored + bytes)
  })
  const others = read.slice(inMemory.length).map(({ path }) => path)
  if (others.length > 0) {
    onWarning?.(
      `${inMemory.length} of the ${read.length} pictures are held in memory, ${formatBytes(inMemory.length * bytes)}; ` +
        'the others are decoded whenever their turn comes. Hold more with --cache.',
    )
  }
  const labelOf = new Map(classes.map((name, label) => [name, label]))
  return {
    name: basename(resolve(folder)),
    channels: depth,
    height: size,
    width: size,
    count: read.length,
    classes,
    pixels: all.subarray(0, inMemory.length * bytes),
    labels: labelled ? Uint16Array.from(read, ({ path }) => labelOf.get(classOf(path))!) : null,
    ...(others.length > 0 && { files: { folder, paths: others, decoding: { size, channels } } }),
  }
}

/** Paths of the pictures below a folder, relative, with slashes, sorted the same on every machine. */
async function listImages(folder: string, onWarning: FolderOptions['onWarning']): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries
    // A link is followed; a pipe or a device would be waited for without end.
    .filter((entry) => entry.isFile() || (entry.isSymbolicLink() && !isFolderOrDevice(entry)))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort()
  const isImage = (path: string) => imageName.test(path) && !basename(path).startsWith('.')
  const images = files.filter(isImage)
  const others = files.filter((path) => !isImage(path))
  if (images.length === 0) {
    const found = others.length === 0 ? 'It is empty' : `It holds ${some(others)}`
    throw new UserError(
      `Found no pictures in the folder ${folder}. ${found}; expected .png, .jpg, .jpeg or .webp files, ` +
        'in the folder itself or, one folder per class, in folders inside it.',
    )
  }
  if (others.length > 0) onWarning?.(`Ignored what is not PNG, JPEG or WebP in ${folder}: ${some(others)}.`)
  return images
}

/** What a link leads to; one that leads nowhere is a picture that cannot be read. */
function isFolderOrDevice({ parentPath, name }: Dirent): boolean {
  const found = statSync(join(parentPath, name), { throwIfNoEntry: false })
  return found !== undefined && !found.isFile()
}

function areLabelled(folder: string, paths: readonly string[]): boolean {
  const nested = paths.filter((path) => path.includes('/'))
  const flat = paths.filter((path) => !path.includes('/'))
  if (nested.length > 0 && flat.length > 0) {
    throw new UserError(
      `The folder ${folder} mixes pictures in itself (${some(flat)}) with pictures in folders (${some(nested)}). ` +
        'Folders are classes: put every picture into one, or all of them into the folder itself.',
    )
  }
  return nested.length > 0
}

/** Every picture, decoded. */
interface Decoded {
  /** Planes of the first pictures: [held, stored bytes]. */
  readonly pixels: Uint8Array
  readonly held: number
  readonly stored: number
  /** What each picture is; null for those that cannot be read. */
  readonly kinds: readonly (ImageKind | null)[]
}

async function decodeAll(
  folder: string,
  paths: readonly string[],
  { size, channels, cache = Number.POSITIVE_INFINITY, onProgress, onWarning }: FolderOptions,
): Promise<Decoded> {
  const stored = (channels === 1 ? 1 : 3) * size * size
  const held = Math.min(paths.length, Math.floor(cache / stored))
  const pixels = room(folder, held, stored)
  const kinds: (ImageKind | null)[] = paths.map(() => null)
  const failures: string[] = []
  let done = 0
  await forEachConcurrently(paths.length, async (index) => {
    const out = index < held ? pixels.subarray(index * stored, (index + 1) * stored) : new Uint8Array(stored)
    try {
      kinds[index] = await decode(join(folder, paths[index]!), { size, channels }, out)
    } catch (error) {
      failures.push(`${paths[index]} (${(error as Error).message})`)
    }
    onProgress?.(++done, paths.length)
  })
  if (failures.length > 0) {
    const found = `${failures.length} of the ${paths.length} pictures in ${folder}: ${some(failures.sort())}.`
    if (failures.length > spoiledAtMost * paths.length) {
      throw new UserError(
        `Cannot read ${found} Up to ${spoiledAtMost * 100} % would be left out; mend or remove what is named here.`,
      )
    }
    onWarning?.(`Left out, because they cannot be read: ${found}`)
  }
  return { pixels, held, stored, kinds }
}

/** @throws UserError where the pictures do not fit into memory */
function room(folder: string, count: number, stored: number): Uint8Array {
  // They are there twice while some are taken away for validation.
  const needed = 2 * count * stored
  const free = process.availableMemory()
  if (needed > free) {
    throw new UserError(
      `${count} pictures of ${folder} take ${formatBytes(needed)} of memory while they are read, but only ` +
        `${formatBytes(free)} are free. Hold fewer of them with --cache, or give a smaller --size.`,
    )
  }
  return new Uint8Array(count * stored)
}

/**
 * Grey files among colour ones are likely a mistake; colour files that show only greys are not (old
 * photographs).
 */
function chooseChannels(
  read: readonly (ImageKind & { readonly path: string })[],
  onWarning: FolderOptions['onWarning'],
): 1 | 3 {
  const pathsOf = (kind: keyof ImageKind) => read.filter((image) => image[kind]).map(({ path }) => path)
  const colourless = pathsOf('colourless')
  if (colourless.length === read.length) return 1
  const grey = pathsOf('storedGrey')
  if (grey.length > 0) {
    throw new UserError(
      `Found grey among colour: ${some(grey)} of ${read.length} pictures. Pass --channels 3 to take all as colour ` +
        'or --channels 1 to take all as grey, or remove what does not belong.',
    )
  }
  if (colourless.length > 0) onWarning?.(`Took as colour, though they show only greys: ${some(colourless)}.`)
  return 3
}

/** How many and which: the first three by name. */
function some(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown
}
