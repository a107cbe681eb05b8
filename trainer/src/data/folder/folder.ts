import { createHash } from 'node:crypto'
import { basename, join, resolve } from 'node:path'
import { UserError } from '@ddpm/shared'
import { formatBytes } from '../../support/files.ts'
import { summarize } from '../../support/summarize.ts'
import type { Dataset, ImageSource } from '../dataset/dataset.ts'
import { type DecodeOptions, decode, forEachConcurrently, type ImageKind } from '../dataset/decode.ts'
import { imageFormats, listImages } from './listing.ts'
import { readLabels } from './metadata.ts'
import { describeQuality } from './quality.ts'

export interface FolderOptions extends DecodeOptions {
  /** Max bytes of images in memory. The other images are decoded on demand. Default: all images are in memory. */
  readonly cache?: number | undefined
  /** Skip any number of unreadable images. Default: only if they are at most 1 %. */
  readonly skipUnreadable?: boolean | undefined
  readonly onProgress?: ((done: number, total: number) => void) | undefined
  readonly onWarning?: ((message: string) => void) | undefined
}

/** Max fraction of unreadable images that are reported and skipped by default. */
const maxUnreadable = 0.01
/** Max number of unreadable images that a message lists. */
const maxListed = 20

/**
 * Reads a folder of images in the order of their paths. Labels are those of metadata.csv or metadata.jsonl. Without such a
 * file, subfolders are classes: every image below `cats/` is a cat. Images of a flat folder have no labels.
 *
 * Every image is decoded once, so that unreadable ones are reported before the training starts. The first images, up to
 * `cache` bytes, remain in memory.
 * @throws UserError if there are no images, if only some have labels, if too many are unreadable, or if `channels` is auto
 *   and some files are grey and others have colour
 */
export async function readFolder(folder: string, options: FolderOptions): Promise<Dataset> {
  const { width, height, channels, onWarning = () => {} } = options
  const paths = await listImages(folder, onWarning)
  const labels = (await readLabels(folder, paths)) ?? subfolders(folder, paths, onWarning)
  const classes = labels === null ? [] : [...new Set(labels)].sort(byNumberOrName)

  const { pixels: all, cachedCount, imageBytes, images } = await decodeAll(folder, paths, options)
  const readable = images.flatMap((image, index) => (image ? [{ ...image, path: paths[index]!, index }] : []))
  const channelCount = channels === 'auto' ? chooseChannels(readable, onWarning) : channels
  for (const warning of describeQuality(readable, { width, height })) onWarning(warning)
  // Moves the readable images to the start of the buffer, over the unreadable ones. Greyscale images that were decoded to
  // RGB are reduced to their first channel, which contains the grey value.
  const bytes = channelCount * width * height
  const inMemory = readable.filter(({ index }) => index < cachedCount)
  inMemory.forEach(({ index }, to) => {
    all.copyWithin(to * bytes, index * imageBytes, index * imageBytes + bytes)
  })
  const others = readable.slice(inMemory.length).map(({ path }) => path)
  if (others.length > 0) {
    onWarning(
      `${inMemory.length} of the ${readable.length} images are cached in memory (${formatBytes(inMemory.length * bytes)}). ` +
        'The others are decoded each time they are used. Raise --cache to cache more of them.',
    )
  }
  const indexOf = new Map(classes.map((name, label) => [name, label]))
  return {
    name: basename(resolve(folder)),
    channels: channelCount,
    height,
    width,
    count: readable.length,
    classes,
    pixels: all.subarray(0, inMemory.length * bytes),
    sources: readable.map(({ path, sha1 }) => ({ path, sha1 })),
    labels: labels && Uint16Array.from(readable, ({ index }) => indexOf.get(labels[index]!)!),
    ...(others.length > 0 && {
      files: { folder, paths: others, decoding: { width, height, channels } },
    }),
  }
}

/** Compares class names: numbers by value, other names by their characters. */
function byNumberOrName(a: string, b: string): number {
  const difference = Number(a) - Number(b)
  if (!Number.isNaN(difference)) return difference
  return a < b ? -1 : 1
}

/**
 * Returns the name of the first-level subfolder of each image, or null for a flat folder.
 * @throws UserError if only some images are in subfolders
 */
function subfolders(
  folder: string,
  paths: readonly string[],
  onWarning: (message: string) => void,
): string[] | null {
  const nested = paths.filter((path) => path.includes('/'))
  const flat = paths.filter((path) => !path.includes('/'))
  if (nested.length > 0 && flat.length > 0) {
    throw new UserError(
      `${folder} mixes images in the folder itself (${summarize(flat)}) with images in subfolders (${summarize(nested)}). ` +
        'Subfolders are classes: put all images into subfolders, or all into the folder itself.',
    )
  }
  if (nested.length === 0) return null
  const names = paths.map((path) => path.slice(0, path.indexOf('/')))
  if (new Set(names).size === 1) {
    onWarning(
      `All images of ${folder} are in one class, "${names[0]}". If its subfolders are the classes, use ` +
        `${join(folder, names[0]!)} instead.`,
    )
  }
  return names
}

/** An image that was decoded. */
type DecodedImage = ImageKind & Pick<ImageSource, 'sha1'>

/** The decoded images of a folder. */
interface Decoded {
  /** Planes of the first images: [cachedCount, imageBytes]. */
  readonly pixels: Uint8Array
  readonly cachedCount: number
  readonly imageBytes: number
  /** Properties of each image; null if it is unreadable. */
  readonly images: readonly (DecodedImage | null)[]
}

async function decodeAll(
  folder: string,
  paths: readonly string[],
  { width, height, channels, cache = Number.POSITIVE_INFINITY, ...options }: FolderOptions,
): Promise<Decoded> {
  const imageBytes = (channels === 1 ? 1 : 3) * width * height
  const cachedCount = Math.min(paths.length, Math.floor(cache / imageBytes))
  const pixels = allocate(folder, cachedCount, imageBytes)
  const images: (DecodedImage | null)[] = paths.map(() => null)
  const failures: string[] = []
  let done = 0
  await forEachConcurrently(paths.length, async (index) => {
    const start = index * imageBytes
    const out = index < cachedCount ? pixels.subarray(start, start + imageBytes) : new Uint8Array(imageBytes)
    try {
      const kind = await decode(join(folder, paths[index]!), { width, height, channels }, out)
      images[index] = { ...kind, sha1: createHash('sha1').update(out).digest('base64') }
    } catch (error) {
      failures.push(`${paths[index]} (${(error as Error).message})`)
    }
    options.onProgress?.(++done, paths.length)
  })
  if (failures.length > 0) reportFailures(folder, failures.sort(), paths.length, options)
  return { pixels, cachedCount, imageBytes, images }
}

/** @throws UserError if too many images are unreadable */
function reportFailures(
  folder: string,
  failures: readonly string[],
  count: number,
  { skipUnreadable = false, onWarning }: Pick<FolderOptions, 'skipUnreadable' | 'onWarning'>,
): void {
  const list = `${failures.length} of the ${count} images in ${folder}`
  const names = summarize(failures, maxListed)
  if (failures.length === count) {
    throw new UserError(`Cannot read any of the ${count} images in ${folder}: ${names}. ${conversionAdvice}`)
  }
  if (skipUnreadable || failures.length <= maxUnreadable * count) {
    onWarning?.(`Skipped ${list}, which cannot be read: ${names}.`)
    return
  }
  throw new UserError(
    `Cannot read ${list}: ${names}. ${conversionAdvice} To train on the other images, add --skip-unreadable. ` +
      `Without it, unreadable images are skipped only if they are at most ${maxUnreadable * 100} % of all images.`,
  )
}

const conversionAdvice = `Remove the files or convert them to ${imageFormats}.`

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
  onWarning: (message: string) => void,
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
    onWarning(`Reading images as colour although they show only greys: ${summarize(colourless)}.`)
  return 3
}
