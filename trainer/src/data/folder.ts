import { type Dirent, statSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, join, relative, resolve, sep } from 'node:path'
import { UserError } from '@ddpm/shared'
import sharp from 'sharp'
import { formatBytes } from '../files.ts'
import type { Dataset } from './dataset.ts'

export interface FolderOptions {
  /** Side of the square that every picture becomes, in pixels. */
  readonly size: number
  /** 1 grey, 3 RGB; auto: grey when no picture has any colour. */
  readonly channels: 'auto' | 1 | 3
  readonly onProgress?: ((done: number, total: number) => void) | undefined
  readonly onWarning?: ((message: string) => void) | undefined
}

/** What a picture turned out to be, when its pixels had been read. */
interface Kind {
  /** The file itself has one channel. */
  readonly storedGrey: boolean
  /** It shows only greys. */
  readonly colourless: boolean
}

/** The part of the pictures that may be beyond reading: those are named and left out. */
const spoiledAtMost = 0.01

const pictureName = /\.(png|jpe?g|webp)$/i

/**
 * Reads a folder of PNG, JPEG and WebP. Folders inside it are classes: whatever lies below `cats/` is a cat.
 * A flat folder is unlabelled. Pictures come in the order of their paths. Each is turned upright (EXIF),
 * scaled so that its shorter side is `size`, cropped to the square in its middle, and laid on white where it
 * is transparent; of a moving one the first frame counts. One that cannot be read is named and left out.
 * @throws UserError when there are no pictures, some lie in the folder and others in folders inside it, more than 1 %
 *   cannot be read, or grey files are mixed with colour and `channels` is auto
 */
export async function readFolder(folder: string, options: FolderOptions): Promise<Dataset> {
  const { size, channels, onWarning } = options
  const paths = await listPictures(folder, onWarning)
  const labelled = areLabelled(folder, paths)
  const classOf = (path: string) => path.slice(0, path.indexOf('/'))
  const classes = labelled ? [...new Set(paths.map(classOf))] : []
  if (classes.length === 1) {
    onWarning?.(
      `All pictures of ${folder} are in one class, "${classes[0]}". If the folders inside that are the classes, ` +
        `give ${join(folder, classes[0]!)} instead.`,
    )
  }

  const { pixels: all, kinds } = await decodeAll(folder, paths, options)
  const read = paths.flatMap((path, index) => (kinds[index] ? [{ path, index, ...kinds[index] }] : []))
  const depth = channels === 'auto' ? chooseChannels(read, onWarning) : channels
  // Closes the gaps: of colourless RGB the first channel is the grey. Every part moves towards the beginning.
  const size2 = size * size
  read.forEach(({ index }, to) => {
    const start = index * (all.length / paths.length)
    all.copyWithin(to * depth * size2, start, start + depth * size2)
  })
  return {
    name: basename(resolve(folder)),
    channels: depth,
    height: size,
    width: size,
    count: read.length,
    classes,
    pixels: all.subarray(0, read.length * depth * size2),
    labels: labelled ? Uint16Array.from(read, ({ path }) => classes.indexOf(classOf(path))) : null,
  }
}

/** Paths of the pictures below a folder, relative, with slashes, sorted the same on every machine. */
async function listPictures(folder: string, onWarning: FolderOptions['onWarning']): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries
    // A link is followed; a pipe or a device would be waited for without end.
    .filter((entry) => entry.isFile() || (entry.isSymbolicLink() && !isFolderOrDevice(entry)))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort()
  const isPicture = (path: string) => pictureName.test(path) && !basename(path).startsWith('.')
  const pictures = files.filter(isPicture)
  const others = files.filter((path) => !isPicture(path))
  if (pictures.length === 0) {
    const found = others.length === 0 ? 'It is empty' : `It holds ${some(others)}`
    throw new UserError(
      `Found no pictures in the folder ${folder}. ${found}; expected .png, .jpg, .jpeg or .webp files, ` +
        'in the folder itself or, one folder per class, in folders inside it.',
    )
  }
  if (others.length > 0) onWarning?.(`Ignored what is not PNG, JPEG or WebP in ${folder}: ${some(others)}.`)
  return pictures
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

/**
 * Decodes several at a time, two for each core, so that one is being read while another is decoded.
 * @returns planes [paths, channels, size, size] and what each picture is; null for those that cannot be read
 */
async function decodeAll(
  folder: string,
  paths: readonly string[],
  { size, channels, onProgress, onWarning }: FolderOptions,
): Promise<{ pixels: Uint8Array; kinds: (Kind | null)[] }> {
  const depth = channels === 1 ? 1 : 3
  const pixels = room(folder, paths.length, depth * size * size)
  const kinds: (Kind | null)[] = paths.map(() => null)
  const failures: string[] = []
  let next = 0
  let done = 0
  const work = async () => {
    while (next < paths.length) {
      const index = next++
      try {
        const out = pixels.subarray(index * depth * size * size, (index + 1) * depth * size * size)
        kinds[index] = await decodePicture(join(folder, paths[index]!), size, channels, out)
      } catch (error) {
        failures.push(`${paths[index]} (${(error as Error).message.trim()})`)
      }
      onProgress?.(++done, paths.length)
    }
  }
  await Promise.all(Array.from({ length: 2 * availableParallelism() }, work))
  if (failures.length > 0) {
    const found = `${failures.length} of the ${paths.length} pictures in ${folder}: ${some(failures.sort())}.`
    if (failures.length > spoiledAtMost * paths.length) {
      throw new UserError(
        `Cannot read ${found} Up to ${spoiledAtMost * 100} % would be left out; mend or remove what is named here.`,
      )
    }
    onWarning?.(`Left out, because they cannot be read: ${found}`)
  }
  return { pixels, kinds }
}

/** @throws UserError where the pictures do not fit into memory */
function room(folder: string, count: number, size: number): Uint8Array {
  // They are there twice while some are taken away for validation.
  const needed = 2 * count * size
  const free = process.availableMemory()
  if (needed > free) {
    throw new UserError(
      `The ${count} pictures of ${folder} take ${formatBytes(needed)} of memory while they are read, but only ` +
        `${formatBytes(free)} are free. Give a smaller --size or fewer pictures.`,
    )
  }
  return new Uint8Array(count * size)
}

/**
 * Decodes one picture: turned upright, scaled so that the shorter side fits, cropped in the middle, laid on white.
 * @param out receives [channels, size, size] bytes, with 3 channels for 'auto'
 * @throws Error of sharp where it cannot be read
 */
export async function decodePicture(
  path: string,
  size: number,
  channels: FolderOptions['channels'],
  out: Uint8Array,
): Promise<Kind> {
  const file = await readFile(path)
  if (file.length === 0) throw new Error('the file is empty')
  const image = sharp(file, { failOn: 'error' })
  const { space } = await image.metadata()
  const pixels = await image
    .autoOrient()
    .resize(size, size, { fit: 'cover', position: 'centre' })
    .flatten({ background: 'white' })
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .raw({ depth: 'uchar' })
    .toBuffer()
  toPlanes(pixels, out, size * size)
  return {
    storedGrey: space === 'b-w' || space === 'grey16',
    colourless: channels === 1 || isColourless(pixels),
  }
}

/**
 * Grey files among colour ones are likely a mistake; colour files that show only greys are not (old
 * photographs).
 */
function chooseChannels(
  read: readonly (Kind & { readonly path: string })[],
  onWarning: FolderOptions['onWarning'],
): 1 | 3 {
  const pathsOf = (kind: keyof Kind) => read.filter((picture) => picture[kind]).map(({ path }) => path)
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

/** @param rgb [pixels, 3] */
function isColourless(rgb: Uint8Array): boolean {
  for (let at = 0; at < rgb.length; at += 3) {
    if (rgb[at] !== rgb[at + 1] || rgb[at] !== rgb[at + 2]) return false
  }
  return true
}

/** [pixels, channels] to [channels, pixels] */
function toPlanes(from: Uint8Array, to: Uint8Array, area: number): void {
  const channels = to.length / area
  const stored = from.length / area
  for (let channel = 0; channel < channels; channel++) {
    for (let pixel = 0; pixel < area; pixel++) to[channel * area + pixel] = from[pixel * stored + channel]!
  }
}

/** How many and which: the first three by name. */
function some(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown
}
