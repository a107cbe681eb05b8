import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import sharp from 'sharp'

/** How pictures become bytes. */
export interface DecodeOptions {
  /** Side of the square that every picture becomes, in pixels. */
  readonly size: number
  /** 1 grey, 3 RGB; auto is RGB until it is known that no picture has any colour. */
  readonly channels: 'auto' | 1 | 3
}

/** What a picture turned out to be, when its pixels had been read. */
export interface ImageKind {
  /** The file itself has one channel. */
  readonly storedGrey: boolean
  /** It shows only greys. */
  readonly colourless: boolean
}

/**
 * Decodes a picture: turned upright (EXIF), scaled so that its shorter side is `size`, cropped to the square in its
 * middle, laid on white where it is transparent, in 8 bits; of a moving one the first frame.
 * @param out receives [channels, size, size], as many channels as it has room for: of RGB into one, the first
 * @throws Error with the reason, in one line, where it cannot be read
 */
export async function decode(path: string, decoding: DecodeOptions, out: Uint8Array): Promise<ImageKind> {
  const file = await readFile(path)
  if (file.length === 0) throw new Error('the file is empty')
  return decodeBytes(file, decoding, out).catch((error: Error) => {
    const [reason] = error.message.trim().split('\n', 1)
    // The decoders share one place for their words: of several that fail at once, one gets those of all.
    throw new Error(reason === 'Unknown error' ? 'damaged' : reason)
  })
}

async function decodeBytes(
  file: Buffer,
  { size, channels }: DecodeOptions,
  out: Uint8Array,
): Promise<ImageKind> {
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

/** Does `work` for 0 … count − 1, two at a time for each core, so that one is being read while another is decoded. */
export async function forEachConcurrently(
  count: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const one = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: 2 * availableParallelism() }, one))
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
