import { readFileSync } from 'node:fs'
import { UserError } from '@ddpm/shared'
import ort from 'onnxruntime-node'
import sharp from 'sharp'
import { toSigned } from '../data/dataset.ts'
import { digestOf } from './cache.ts'
import type { Classifier } from './classifier.ts'
import { countOf, type Images } from './images.ts'
import type { Features } from './metrics/features.ts'

/** What sees features in pictures. */
export interface Extractor {
  /** For people: what it is. */
  readonly description: string
  /** Tells it from others whose features are not to be mixed with its own. */
  readonly digest: string
  extract(images: Images): Promise<Features>
  dispose(): Promise<void>
}

/** Pictures per call of a network. */
const batch = 64

/**
 * Runs a network over all pictures.
 * @param run the pixels of `n` pictures → [n, dims]
 */
async function extractBy(
  images: Images,
  run: (pixels: Uint8Array, n: number) => Promise<Float32Array>,
  most = batch,
): Promise<Features> {
  const { channels, height, width, pixels } = images
  const size = channels * height * width
  const count = countOf(images)
  const parts: Float32Array[] = []
  for (let first = 0; first < count; first += most) {
    const n = Math.min(most, count - first)
    parts.push(await run(pixels.subarray(first * size, (first + n) * size), n))
  }
  const dims = parts[0]!.length / Math.min(most, count)
  const values = new Float32Array(count * dims)
  for (const [i, part] of parts.entries()) values.set(part, i * most * dims)
  return { count, dims, values }
}

/**
 * The last layer but one of a classifier.
 * @param scale what features are divided by: their root mean square over real pictures, for the kernel of KID, a third
 * power, wants features of about 1
 */
export function classifierExtractor(
  classifier: Classifier,
  { scale, description, digest }: { scale: number; description: string; digest: string },
): Extractor {
  return {
    description,
    digest,
    extract: (images) =>
      extractBy(images, async (pixels, n) => {
        const { features } = await classifier.run(Float32Array.from(pixels, toSigned), n)
        return features.map((value) => value / scale)
      }),
    dispose: () => classifier.dispose(),
  }
}

/** How pictures are made ready for an extractor: scaled to a square, then per channel (byte/255 − mean)/std. */
export interface Preparation {
  readonly size: number
  /** One number for all channels, or one for each. */
  readonly mean: readonly number[]
  readonly std: readonly number[]
}

/** Scales by a cubic kernel that is widened where pictures shrink, as FID should (Parmar et al. 2022). */
async function scaled(
  pixels: Uint8Array,
  { channels, height, width }: Images,
  size: number,
): Promise<Uint8Array> {
  const plane = height * width
  const interleaved = new Uint8Array(plane * channels)
  for (let i = 0; i < interleaved.length; i++) {
    interleaved[i] = pixels[(i % channels) * plane + Math.floor(i / channels)]!
  }
  const raw = { width, height, channels: channels as 1 | 3 }
  return await sharp(interleaved, { raw })
    .resize(size, size, { kernel: 'cubic', fit: 'fill' })
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .raw()
    .toBuffer()
}

/**
 * An extractor from an ONNX file: one input of pictures [N, C, S, S], of one channel or three (grey is repeated); features
 * [N, dims], or [N, dims, H, W], of which the mean over pixels is taken.
 * @param output the name of the output; the first one where it is null
 * @throws UserError where the file is no such network
 */
export async function openExtractor(
  path: string,
  { size, mean, std }: Preparation,
  output: string | null,
): Promise<Extractor> {
  let bytes: Uint8Array
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw new UserError(`Cannot read the extractor ${path}: ${(error as Error).message}.`)
  }
  let session: ort.InferenceSession
  try {
    session = await ort.InferenceSession.create(bytes)
  } catch (error) {
    throw new UserError(`onnxruntime cannot open ${path}: ${(error as Error).message.trim()}`)
  }
  const [input, ...others] = session.inputMetadata
  const shape = input?.isTensor ? input.shape : []
  const wanted = shape[1]
  if (others.length > 0 || shape.length !== 4 || (wanted !== 1 && wanted !== 3)) {
    const found = session.inputMetadata.map((value) => `${value.name} [${value.isTensor ? value.shape : ''}]`)
    throw new UserError(
      `${path} takes ${found.join(' and ')}; expected one input of pictures [N, 1 or 3, height, width].`,
    )
  }
  const name = output ?? session.outputNames[0]!
  if (!session.outputNames.includes(name)) {
    throw new UserError(`${path} has no output "${name}"; it has ${session.outputNames.join(', ')}.`)
  }
  const most = typeof shape[0] === 'number' ? shape[0] : batch

  return {
    description: `${path}, output ${name}, pictures of ${size}×${size}, mean ${mean}, std ${std}`,
    digest: digestOf(bytes, Buffer.from(JSON.stringify([size, mean, std, name]))),
    async extract(images) {
      const { channels, height, width } = images
      if (channels > wanted)
        throw new UserError(`${path} takes grey pictures; these are RGB. Give an extractor for RGB.`)
      const plane = size * size
      return extractBy(
        images,
        async (pixels, n) => {
          const x = new Float32Array(most * wanted * plane)
          for (let i = 0; i < n; i++) {
            const one = channels * height * width
            const small = await scaled(pixels.subarray(i * one, (i + 1) * one), images, size)
            for (let c = 0; c < wanted; c++) {
              const from = channels === 1 ? 0 : c
              const [m, s] = [mean[c] ?? mean[0]!, std[c] ?? std[0]!]
              const start = (i * wanted + c) * plane
              for (let p = 0; p < plane; p++) x[start + p] = (small[p * channels + from]! / 255 - m) / s
            }
          }
          // A network whose batch is not open gets a full one.
          const asked = typeof shape[0] === 'number' ? most : n
          const tensor = new ort.Tensor('float32', x.subarray(0, asked * wanted * plane), [
            asked,
            wanted,
            size,
            size,
          ])
          const results = await session.run({ [input!.name]: tensor })
          return pooled(results[name]!, n)
        },
        most,
      )
    },
    dispose: () => session.release(),
  }
}

/** [N, dims, …] → the first n rows of [N, dims], the mean over whatever axes follow. */
function pooled({ data, dims }: ort.Tensor, n: number): Float32Array {
  const [count, channels] = dims as [number, number]
  const inner = data.length / count / channels
  const out = new Float32Array(n * channels)
  for (let i = 0; i < out.length; i++) {
    let sum = 0
    for (let k = 0; k < inner; k++) sum += Number(data[i * inner + k])
    out[i] = sum / inner
  }
  return out
}
