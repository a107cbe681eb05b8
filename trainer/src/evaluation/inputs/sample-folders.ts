import { createHash } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import sharp from 'sharp'
import { decode, forEachConcurrently } from '../../data/dataset/decode.ts'
import type { Size } from '../../data/dataset/size.ts'
import { listImages } from '../../data/folder/listing.ts'
import { summarize } from '../../support/summarize.ts'
import type { Images } from './images.ts'

/** Samples that were read from folders. */
export interface SampleFiles {
  /** RGB, or greyscale if no file has colour. */
  readonly images: Images
  readonly paths: readonly string[]
}

/** Max number of files that a message lists. */
const maxListed = 20

/**
 * Reads all images of folders, for example of several processes of `npm run sample`. They are sorted by name, so that the
 * result does not depend on how the images are divided among the folders.
 * @param size size of all images; null for that of the first image
 * @throws UserError if a folder has no images, or if images cannot be read or have another size
 */
export async function readSampleFolders(
  folders: readonly string[],
  size: Size | null,
  onWarning: (message: string) => void,
): Promise<SampleFiles> {
  const files = await Promise.all(
    [...new Set(folders)].map(async (folder) => {
      checkFolder(folder)
      return (await listImages(folder, onWarning)).map((name) => ({ name, path: join(folder, name) }))
    }),
  )
  const paths = files
    .flat()
    .sort((a, b) => (a.name === b.name ? 0 : a.name < b.name ? -1 : 1))
    .map(({ path }) => path)
  // An unreadable image is reported below, with all others.
  const { width, height } = size ?? (await sizeOf(paths[0]!).catch(() => ({ width: 1, height: 1 })))
  const area = width * height
  const pixels = new Uint8Array(paths.length * 3 * area)
  const hasColour = paths.map(() => false)
  const unreadable: string[] = []
  const otherSizes: string[] = []
  await forEachConcurrently(paths.length, async (index) => {
    const path = paths[index]!
    try {
      const actual = await sizeOf(path)
      if (actual.width !== width || actual.height !== height)
        otherSizes.push(`${path} (${actual.width}×${actual.height})`)
      const out = pixels.subarray(index * 3 * area, (index + 1) * 3 * area)
      hasColour[index] = !(await decode(path, { width, height, channels: 3 }, out)).colourless
    } catch (error) {
      unreadable.push(`${path} (${(error as Error).message.trim().split('\n', 1)[0]})`)
    }
  })
  if (unreadable.length > 0) {
    throw new UserError(
      `Cannot read ${unreadable.length} of the ${paths.length} samples: ${summarize(unreadable.sort(), maxListed)}. ` +
        'Remove the files or generate them again.',
    )
  }
  if (otherSizes.length > 0) {
    throw new UserError(
      `Invalid size of ${otherSizes.length} of the ${paths.length} samples: expected ${width}×${height} ` +
        `${size === null ? `as ${paths[0]}` : 'as the model'}, got ${summarize(otherSizes.sort())}. Write single images ` +
        'without --scale, and evaluate samples of one model at a time.',
    )
  }
  warnOfDuplicates(pixels, paths, onWarning)
  const rgb = { channels: 3, height, width, pixels }
  return { images: hasColour.includes(true) ? rgb : toChannels(rgb, 1), paths }
}

function checkFolder(folder: string): void {
  if (!existsSync(folder))
    throw new UserError(`Cannot find --samples ${folder}. Pass folders of images, as sample --out writes.`)
  if (!statSync(folder).isDirectory())
    throw new UserError(`Invalid --samples ${folder}: expected a folder of single images, got a file.`)
}

/** Returns the size of an image file after rotation by its EXIF orientation. */
async function sizeOf(path: string): Promise<Size> {
  return (await sharp(path).metadata()).autoOrient
}

function warnOfDuplicates(
  pixels: Uint8Array,
  paths: readonly string[],
  onWarning: (message: string) => void,
): void {
  const size = pixels.length / paths.length
  const first = new Map<string, string>()
  const copies = paths.flatMap((path, i) => {
    const hash = createHash('sha1')
      .update(pixels.subarray(i * size, (i + 1) * size))
      .digest('base64')
    const original = first.get(hash)
    if (original === undefined) first.set(hash, path)
    return original === undefined ? [] : [`${path} (as ${original})`]
  })
  if (copies.length > 0) {
    onWarning(
      `${copies.length} of the ${paths.length} samples are the same as another one: ${summarize(copies)}. If several ` +
        'processes generated them, pass a different --first to each.',
    )
  }
}

/** Converts images to another number of channels. RGB becomes its first channel: the images must be grey. */
export function toChannels(images: Images, channels: number): Images {
  if (images.channels === channels) return images
  const { height, width } = images
  const area = height * width
  const count = images.pixels.length / (images.channels * area)
  const pixels = new Uint8Array(count * channels * area)
  for (let i = 0; i < count; i++) {
    const grey = images.pixels.subarray(i * images.channels * area, (i * images.channels + 1) * area)
    for (let c = 0; c < channels; c++) pixels.set(grey, (i * channels + c) * area)
  }
  return { channels, height, width, pixels }
}
