import { existsSync, statSync } from 'node:fs'
import { extname } from 'node:path'
import { type ModelInfo, UserError } from '@ddpm/shared'
import { toSigned, writeImage } from './dataset.ts'
import { decode } from './decode.ts'
import { openData } from './open.ts'

const endings = ['.png', '.jpg', '.jpeg', '.webp', '.gif', '.avif', '.tif', '.tiff']

/**
 * Pictures that drawing starts from, as a model sees them: [count, channels, height, width] in [−1, 1].
 * @param source a picture, taken `count` times, or whatever training takes, of which the first ones are
 * @throws UserError where it cannot be read or has other measures than the model
 */
export async function startingImages(
  source: string,
  count: number,
  shape: ModelInfo['shape'],
): Promise<Float32Array> {
  const { channels, height, width } = shape
  const size = channels * height * width
  const out = new Float32Array(count * size)
  if (isImage(source)) {
    const bytes = await oneImage(source, shape)
    for (let i = 0; i < out.length; i++) out[i] = toSigned(bytes[i % size]!)
    return out
  }
  // Sets that are made or stored have measures of their own; a folder takes the model's.
  const folder = existsSync(source) && statSync(source).isDirectory()
  const dataset = await openData(source, {
    seed: 0,
    ...(folder && { size: height, channels: channels === 1 ? 1 : 'auto' }),
  })
  if (dataset.channels !== channels || dataset.height !== height || dataset.width !== width) {
    const measures = (of: ModelInfo['shape']) => `${of.width}×${of.height} with ${of.channels} channels`
    throw new UserError(
      `The pictures of ${source} are ${measures(dataset)}; the model draws ${measures(shape)}.`,
    )
  }
  if (dataset.count < count) {
    throw new UserError(
      `Found ${dataset.count} pictures in ${source}; expected ${count}. Give --count ${dataset.count}.`,
    )
  }
  for (let i = 0; i < count; i++) writeImage(dataset, i, out, i * size, false)
  return out
}

/**
 * A mask: 1 where its picture is light, to be drawn anew, 0 where it is dark, to stay.
 * @returns [count, channels, height, width]
 */
export async function readMask(
  path: string,
  count: number,
  shape: ModelInfo['shape'],
): Promise<Float32Array> {
  if (!isImage(path)) throw new UserError(`Found the mask ${path}; expected a picture: white is drawn anew.`)
  const bytes = await oneImage(path, { ...shape, channels: 1 })
  const area = shape.height * shape.width
  return Float32Array.from({ length: count * shape.channels * area }, (_, i) =>
    bytes[i % area]! < 128 ? 0 : 1,
  )
}

function isImage(path: string): boolean {
  return endings.includes(extname(path).toLowerCase())
}

async function oneImage(path: string, { channels, height, width }: ModelInfo['shape']): Promise<Uint8Array> {
  if (height !== width) {
    throw new UserError(`The model draws ${width}×${height}; pictures can be cropped to squares only.`)
  }
  const bytes = new Uint8Array(channels * height * width)
  try {
    await decode(path, { size: height, channels: channels === 1 ? 1 : 3 }, bytes)
  } catch (error) {
    throw new UserError(`Cannot read the picture ${path}: ${(error as Error).message.trim()}.`)
  }
  return bytes
}
