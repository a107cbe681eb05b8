import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import sharp from 'sharp'
import type { Size } from './size.ts'

/** Options for decoding image files. */
export interface DecodeOptions extends Size {
  /** 1: greyscale; 3: RGB; auto: RGB, or greyscale if no image has colour. */
  readonly channels: 'auto' | 1 | 3
}

/** Properties of a decoded image file. */
export interface ImageKind {
  /** Whether the file has a single channel. */
  readonly storedGrey: boolean
  /** Whether all pixels are grey. */
  readonly colourless: boolean
  /** Whether the file is smaller than the decoded image in width or height. */
  readonly enlarged: boolean
}

/**
 * Decodes an image file to 8 bits per channel. Applies the EXIF orientation, scales the image until it covers the size, crops
 * the middle and composites transparent pixels on white. Decodes only the first frame of an animation.
 * @param out receives [channels, height, width]. Its length determines the number of channels; with one channel, it
 *   receives the red of an RGB image.
 * @throws Error with the reason on one line
 */
export async function decode(path: string, decoding: DecodeOptions, out: Uint8Array): Promise<ImageKind> {
  const file = await readFile(path)
  if (file.length === 0) throw new Error('the file is empty')
  return decodeBytes(file, decoding, out).catch((error: Error) => {
    const [reason] = error.message.trim().split('\n', 1)
    if (/unsupported image format/.test(error.message))
      throw new Error(`not an image (${describeStart(file)})`)
    // The decoders share a buffer for messages: if several fail at once, one of them reports all messages.
    throw new Error(reason === 'Unknown error' ? 'damaged' : reason)
  })
}

/** Describes the first bytes of a file that is not an image. */
function describeStart(file: Buffer): string {
  const text = file.subarray(0, 12).toString('latin1')
  const isText = /^[\x20-\x7e\s]+$/.test(text)
  return isText
    ? `it starts with ${JSON.stringify(text)}`
    : `it starts with the bytes ${file.subarray(0, 8).toString('hex')}`
}

async function decodeBytes(
  file: Buffer,
  { width, height, channels }: DecodeOptions,
  out: Uint8Array,
): Promise<ImageKind> {
  const image = sharp(file, { failOn: 'error' })
  const { space, autoOrient } = await image.metadata()
  const pixels = await image
    .autoOrient()
    .resize(width, height, { fit: 'cover', position: 'centre' })
    .flatten({ background: 'white' })
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .raw({ depth: 'uchar' })
    .toBuffer()
  toPlanes(pixels, out, width * height)
  return {
    storedGrey: space === 'b-w' || space === 'grey16',
    colourless: channels === 1 || isColourless(pixels),
    enlarged: autoOrient.width < width || autoOrient.height < height,
  }
}

/**
 * Calls a function with every index from 0 to count − 1. At most two calls per CPU core run at a time, so that one file
 * is read while another is decoded.
 */
export async function forEachConcurrently(
  count: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: 2 * availableParallelism() }, worker))
}

/** @param rgb [pixels, 3] */
function isColourless(rgb: Uint8Array): boolean {
  for (let at = 0; at < rgb.length; at += 3) {
    if (rgb[at] !== rgb[at + 1] || rgb[at] !== rgb[at + 2]) return false
  }
  return true
}

/** Converts [pixels, channels] to [channels, pixels]. */
function toPlanes(from: Uint8Array, to: Uint8Array, area: number): void {
  const channels = to.length / area
  const stored = from.length / area
  for (let channel = 0; channel < channels; channel++) {
    for (let pixel = 0; pixel < area; pixel++) to[channel * area + pixel] = from[pixel * stored + channel]!
  }
}
