import { type Dirent, statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, join, relative, resolve, sep } from 'node:path'
import { UserError } from '@ddpm/shared'
import { formatBytes } from '../support/files.ts'
import type { Dataset } from './dataset/dataset.ts'
import { type DecodeOptions, decode, forEachConcurrently, type ImageKind } from './dataset/decode.ts'

export interface FolderOptions extends DecodeOptions {
  /** Max bytes of images in memory. The other images are decoded on demand. Default: all images are in memory. */
  readonly cache?: number | undefined
  readonly onProgress?: ((done: number, total: number) => void) | undefined
  readonly onWarning?: ((message: string) => void) | undefined
}

/** Max fraction of unreadable images. They are reported and skipped. */
const maxUnreadable = 0.01

const imageName = /\.(png|jpe?g|webp)$/i

/**
 * Reads a folder of PNG, JPEG and WebP images in the order of their paths. Subfolders are classes: every image below
 * `cats/` is a cat. Images of a flat folder have no labels.
 *
 * Every image is decoded once, so that unreadable ones are reported before the training starts. The first images, up to
 * `cache` bytes, remain in memory.
 * @throws UserError if there are no images, if only some are in subfolders, if more than 1 % are unreadable, or if `channels`
 *   is auto and some files are grey and others have colour
 */
export async function readFolder(folder: string, options: FolderOptions): Promise<Dataset> {
  const { size, channels, onWarning } = options
  const paths = await listImages(folder, onWarning)
  const labelled = areLabelled(folder, paths)
  const classOf = (path: string) => path.slice(0, path.indexOf('/'))
  const classes = labelled ? [...new Set(paths.map(classOf))] : []
  if (classes.length === 1) {
    onWarning?.(
      `All images of ${folder} are in one class, "${classes[0]}". If its subfolders are the classes, use ` +
        `${join(folder, classes[0]!)} instead.`,
    )
  }

  const { pixels: all, cachedCount, imageBytes, kinds } = await decodeAll(folder, paths, options)
  const readable = paths.flatMap((path, index) => (kinds[index] ? [{ path, index, ...kinds[index] }] : []))
  const channelCount = channels === 'auto' ? chooseChannels(readable, onWarning) : channels
  // Moves the readable images to the start of the buffer, over the unreadable ones. Greyscale images that were decoded to
  // RGB are reduced to their first channel, which contains the grey value.
  const bytes = channelCount * size * size
  const inMemory = readable.filter(({ index }) => index < cachedCount)
  inMemory.forEach(({ index }, to) => {
    all.copyWithin(to * bytes, index * imageBytes, index * imageBytes + bytes)
  })
  const others = readable.slice(inMemory.length).map(({ path }) => path)
  if (others.length > 0) {
    onWarning?.(
      `${inMemory.length} of the ${readable.length} images are cached in memory (${formatBytes(inMemory.length * bytes)}). ` +
        'The others are decoded each time they are used. Raise --cache to cache more of them.',
    )
  }
  const labelOf = new Map(classes.map((name, label) => [name, label]))
  return {
    name: basename(resolve(folder)),
    channels: channelCount,
    height: size,
    width: size,
    count: readable.length,
    classes,
    pixels: all.subarray(0, inMemory.length * bytes),
    labels: labelled ? Uint16Array.from(readable, ({ path }) => labelOf.get(classOf(path))!) : null,
    ...(others.length > 0 && { files: { folder, paths: others, decoding: { size, channels } } }),
  }
}

/** Lists the images below a folder: relative paths with slashes, sorted the same way on every machine. */
async function listImages(folder: string, onWarning: FolderOptions['onWarning']): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries
    // Links are followed. Reading a pipe or a device would block.
    .filter((entry) => entry.isFile() || (entry.isSymbolicLink() && !isFolderOrDevice(entry)))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort()
  const isImage = (path: string) => imageName.test(path) && !basename(path).startsWith('.')
  const images = files.filter(isImage)
  const others = files.filter((path) => !isImage(path))
  if (images.length === 0) {
    const content = others.length === 0 ? 'the folder is empty' : `it contains only ${summarize(others)}`
    throw new UserError(
      `Cannot find images in ${folder}: ${content}. Put .png, .jpg, .jpeg or .webp files into the folder itself ` +
        'or into one subfolder per class.',
    )
  }
  if (others.length > 0)
    onWarning?.(`Ignored files in ${folder} that are not PNG, JPEG or WebP: ${summarize(others)}.`)
  return images
}

/** Returns whether a link leads to a folder or a device. A broken link is reported as an unreadable image. */
function isFolderOrDevice({ parentPath, name }: Dirent): boolean {
  const target = statSync(join(parentPath, name), { throwIfNoEntry: false })
  return target !== undefined && !target.isFile()
}

function areLabelled(folder: string, paths: readonly string[]): boolean {
  const nested = paths.filter((path) => path.includes('/'))
  const flat = paths.filter((path) => !path.includes('/'))
  if (nested.length > 0 && flat.length > 0) {
    throw new UserError(
      `${folder} mixes images in the folder itself (${summarize(flat)}) with images in subfolders (${summarize(nested)}). ` +
        'Subfolders are classes: put all images into subfolders, or all into the folder itself.',
    )
  }
  return nested.length > 0
}

/** The decoded images of a folder. */
interface Decoded {
  /** Planes of the first images: [cachedCount, imageBytes]. */
  readonly pixels: Uint8Array
  readonly cachedCount: number
  readonly imageBytes: number
  /** Kind of each image; null if it is unreadable. */
  readonly kinds: readonly (ImageKind | null)[]
}

async function decodeAll(
  folder: string,
  paths: readonly string[],
  { size, channels, cache = Number.POSITIVE_INFINITY, onProgress, onWarning }: FolderOptions,
): Promise<Decoded> {
  const imageBytes = (channels === 1 ? 1 : 3) * size * size
  const cachedCount = Math.min(paths.length, Math.floor(cache / imageBytes))
  const pixels = allocate(folder, cachedCount, imageBytes)
  const kinds: (ImageKind | null)[] = paths.map(() => null)
  const failures: { path: string; reason: string }[] = []
  let done = 0
  await forEachConcurrently(paths.length, async (index) => {
    const start = index * imageBytes
    const out = index < cachedCount ? pixels.subarray(start, start + imageBytes) : new Uint8Array(imageBytes)
    try {
      kinds[index] = await decode(join(folder, paths[index]!), { size, channels }, out)
    } catch (error) {
      failures.push({ path: paths[index]!, reason: (error as Error).message })
    }
    onProgress?.(++done, paths.length)
  })
  reportFailures(folder, failures, paths.length, onWarning)
  return { pixels, cachedCount, imageBytes, kinds }
}

/** @throws UserError if too many images are unreadable */
function reportFailures(
  folder: string,
  failures: readonly { path: string; reason: string }[],
  count: number,
  onWarning: FolderOptions['onWarning'],
): void {
  const [first] = failures
  if (!first) return
  const list = summarize(failures.map(({ path, reason }) => `${path} (${reason})`).sort())
  const isTooMany = failures.length > maxUnreadable * count
  if (!isTooMany) {
    onWarning?.(
      `Skipped ${failures.length} of the ${count} images in ${folder}, which cannot be read: ${list}.`,
    )
  } else if (failures.length === 1) {
    throw new UserError(`Cannot read ${join(folder, first.path)}: ${first.reason}. ${unreadableAdvice('it')}`)
  } else {
    throw new UserError(
      `Cannot read ${failures.length} of the ${count} images in ${folder}: ${list}. ${unreadableAdvice('them')}`,
    )
  }
}

function unreadableAdvice(object: 'it' | 'them'): string {
  return (
    `Remove ${object} or convert ${object} to PNG, JPEG or WebP. ` +
    `Unreadable images are skipped only if they are at most ${maxUnreadable * 100} % of all images.`
  )
}

/**
 * Allocates memory for images.
 * @throws UserError if they do not fit in memory
 */
function allocate(folder: string, count: number, imageBytes: number): Uint8Array {
  // The split into training and validation set copies the images.
  const needed = 2 * count * imageBytes
  const free = process.availableMemory()
  if (needed > free) {
    throw new UserError(
      `Cannot read ${count} images of ${folder} into memory: they need ${formatBytes(needed)}, but only ` +
        `${formatBytes(free)} are free. Cache fewer images with --cache, or use a smaller --size.`,
    )
  }
  return new Uint8Array(count * imageBytes)
}

/**
 * Chooses the number of channels. Grey files among colour files are probably a mistake. Colour files that show only
 * greys are not: they may be scans of old photographs.
 * @throws UserError if some files are grey and others have colour
 */
function chooseChannels(
  images: readonly (ImageKind & { readonly path: string })[],
  onWarning: FolderOptions['onWarning'],
): 1 | 3 {
  const pathsOf = (kind: keyof ImageKind) => images.filter((image) => image[kind]).map(({ path }) => path)
  const colourless = pathsOf('colourless')
  if (colourless.length === images.length) return 1
  const grey = pathsOf('storedGrey')
  if (grey.length > 0) {
    throw new UserError(
      `Some of the ${images.length} images are grey and others have colour. Grey images: ${summarize(grey)}. ` +
        'Use --channels 3 to convert all images to RGB, --channels 1 to convert all images to greyscale, ' +
        'or remove one of the two kinds.',
    )
  }
  if (colourless.length > 0)
    onWarning?.(`Reading images as colour although they show only greys: ${summarize(colourless)}.`)
  return 3
}

/** Joins the first three names and the number of the others. */
function summarize(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown
}
