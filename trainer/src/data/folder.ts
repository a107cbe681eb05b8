import { readdir, readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, join, relative, resolve, sep } from 'node:path'
import { UserError } from '@ddpm/shared'
import sharp from 'sharp'
import type { Dataset } from './dataset.ts'

export interface FolderOptions {
  /** Side of the square that every picture becomes, in pixels. */
  readonly size: number
  /** 1 grey, 3 RGB; auto: grey when no picture has any colour. */
  readonly channels: 'auto' | 1 | 3
  readonly onProgress?: ((done: number, total: number) => void) | undefined
  readonly onWarning?: ((message: string) => void) | undefined
}

interface Decoded {
  /** [size, size, channels], bytes. */
  readonly pixels: Uint8Array
  /** The file itself has one channel. */
  readonly storedGrey: boolean
}

const pictureName = /\.(png|jpe?g|webp)$/i

/**
 * Reads a folder of PNG, JPEG and WebP. Folders inside it are classes: whatever lies below `cats/` is a cat.
 * A flat folder is unlabelled. Pictures come in the order of their paths. Each is turned upright (EXIF),
 * scaled so that its shorter side is `size`, cropped to the square in its middle, and laid on white where it
 * is transparent.
 * @throws UserError when there are no pictures, some lie in the folder and others in folders inside it, some
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

  const decoded = await decodeAll(folder, paths, options)
  const depth = channels === 'auto' ? chooseChannels(paths, decoded, onWarning) : channels
  const pixels = new Uint8Array(paths.length * depth * size * size)
  decoded.forEach((picture, index) => {
    toPlanes(picture.pixels, pixels.subarray(index * depth * size * size), depth, size * size)
  })
  return {
    name: basename(resolve(folder)),
    channels: depth,
    height: size,
    width: size,
    count: paths.length,
    classes,
    pixels,
    labels: labelled ? Uint16Array.from(paths, (path) => classes.indexOf(classOf(path))) : null,
  }
}

/** Paths of the pictures below a folder, relative, with slashes, sorted the same on every machine. */
async function listPictures(folder: string, onWarning: FolderOptions['onWarning']): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries
    .filter((entry) => !entry.isDirectory())
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

/** Decodes several at a time, two for each core, so that one is being read while another is decoded. */
async function decodeAll(
  folder: string,
  paths: readonly string[],
  options: FolderOptions,
): Promise<Decoded[]> {
  const decoded: Decoded[] = new Array(paths.length)
  const failures: string[] = []
  let next = 0
  let done = 0
  const work = async () => {
    while (next < paths.length) {
      const index = next++
      try {
        decoded[index] = await decode(join(folder, paths[index]!), options)
      } catch (error) {
        failures.push(`${paths[index]} (${(error as Error).message})`)
      }
      options.onProgress?.(++done, paths.length)
    }
  }
  await Promise.all(Array.from({ length: 2 * availableParallelism() }, work))
  if (failures.length > 0) {
    throw new UserError(
      `Cannot read ${failures.length} of the ${paths.length} pictures in ${folder}: ${some(failures.sort())}. ` +
        'Mend or remove what is named here.',
    )
  }
  return decoded
}

async function decode(path: string, { size, channels }: FolderOptions): Promise<Decoded> {
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
  return { pixels, storedGrey: space === 'b-w' || space === 'grey16' }
}

/**
 * Grey files among colour ones are likely a mistake; colour files that show only greys are not (old
 * photographs).
 */
function chooseChannels(
  paths: readonly string[],
  decoded: readonly Decoded[],
  onWarning: FolderOptions['onWarning'],
): 1 | 3 {
  const colourless = paths.filter((_, index) => isColourless(decoded[index]!.pixels))
  if (colourless.length === paths.length) return 1
  const grey = paths.filter((_, index) => decoded[index]!.storedGrey)
  if (grey.length > 0) {
    throw new UserError(
      `Found grey among colour: ${some(grey)} of ${paths.length} pictures. Pass --channels 3 to take all as colour ` +
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

/** [pixels, channels] to [depth, pixels]; of colourless RGB the first channel is the grey. */
function toPlanes(from: Uint8Array, to: Uint8Array, depth: number, area: number): void {
  const channels = from.length / area
  for (let channel = 0; channel < depth; channel++) {
    for (let pixel = 0; pixel < area; pixel++) to[channel * area + pixel] = from[pixel * channels + channel]!
  }
}

/** How many and which: the first three by name. */
function some(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown
}
