import { existsSync, statSync } from 'node:fs'
import { extname } from 'node:path'
import { type ModelInfo, UserError } from '@ddpm/shared'
import { toSigned, writeImage } from './dataset/dataset.ts'
import { decode } from './dataset/decode.ts'
import { formatSize } from './dataset/size.ts'
import { imageExtensions, imageFormats } from './folder/listing.ts'
import { openData } from './open.ts'

/**
 * Reads images to start sampling from: [count, channels, height, width] in [−1, 1].
 * @param source an image, which is repeated `count` times, or a dataset, whose first images are used
 * @throws UserError if the source cannot be read or its size does not match the model
 */
export async function readStartingImages(
  source: string,
  count: number,
  shape: ModelInfo['shape'],
): Promise<Float32Array> {
  const { channels, height, width } = shape
  const size = channels * height * width
  const out = new Float32Array(count * size)
  if (isImage(source)) {
    const bytes = await readOneImage(source, shape)
    for (let i = 0; i < out.length; i++) out[i] = toSigned(bytes[i % size]!)
    return out
  }
  // Images of a folder are scaled to the size of the model. Other sources have a fixed size.
  const isFolder = existsSync(source) && statSync(source).isDirectory()
  const dataset = await openData(source, {
    seed: 0,
    ...(isFolder && { size: formatSize(shape), channels: channels === 1 ? 1 : 'auto' }),
  })
  if (dataset.channels !== channels || dataset.height !== height || dataset.width !== width) {
    const describe = (of: ModelInfo['shape']) => `${of.width}×${of.height} with ${of.channels} channels`
    throw new UserError(
      `Invalid size of the images of ${source}: expected ${describe(shape)} as in the model, got ${describe(dataset)}.`,
    )
  }
  if (dataset.count < count) {
    throw new UserError(
      `Too few images in ${source}: expected ${count}, got ${dataset.count}. Use --count ${dataset.count}.`,
    )
  }
  for (let i = 0; i < count; i++) writeImage(dataset, i, out, i * size, false)
  return out
}

/**
 * Reads a mask from an image: 1 for light pixels, which are generated, and 0 for dark pixels, which are preserved.
 * @returns [count, channels, height, width]
 */
export async function readMask(
  path: string,
  count: number,
  shape: ModelInfo['shape'],
): Promise<Float32Array> {
  if (!isImage(path))
    throw new UserError(`Invalid mask ${path}: expected an image file, white in the area to generate.`)
  const bytes = await readOneImage(path, { ...shape, channels: 1 })
  const area = shape.height * shape.width
  return Float32Array.from({ length: count * shape.channels * area }, (_, i) =>
    bytes[i % area]! < 128 ? 0 : 1,
  )
}

function isImage(path: string): boolean {
  return imageExtensions.includes(extname(path).toLowerCase())
}

async function readOneImage(
  path: string,
  { channels, height, width }: ModelInfo['shape'],
): Promise<Uint8Array> {
  const bytes = new Uint8Array(channels * height * width)
  try {
    await decode(path, { width, height, channels: channels === 1 ? 1 : 3 }, bytes)
  } catch (error) {
    throw new UserError(
      `Cannot read ${path}: ${(error as Error).message.trim()}. Use a ${imageFormats} image.`,
    )
  }
  return bytes
}
