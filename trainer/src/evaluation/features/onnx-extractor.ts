import { readFileSync } from 'node:fs'
import { UserError } from '@ddpm/shared'
import type { InferenceSession, Tensor } from 'onnxruntime-node'
import sharp from 'sharp'
import ort from '../../support/onnxruntime-node.ts'
import { digest } from '../inputs/cache.ts'
import type { Images } from '../inputs/images.ts'
import { defaultBatch, type Extractor, extractInBatches } from './extractor.ts'

/** Preprocessing of an extractor's input: images are scaled to a square, then normalised per channel. */
export interface Preprocessing {
  /** Side of the square in pixels. */
  readonly size: number
  /** Subtracted from byte/255: one number for all channels, or one per channel. */
  readonly mean: readonly number[]
  /** Divisor after the subtraction: one number for all channels, or one per channel. */
  readonly std: readonly number[]
}

/**
 * Opens a feature extractor from an ONNX file. It has one input, images [N, C, S, S] with one or three channels
 * (greyscale images are repeated), and an output of features [N, dims] or [N, dims, H, W], which are averaged over
 * the pixels.
 * @param output name of the output; null selects the first one
 * @param sha256 expected hash of the file; null accepts any file
 * @throws UserError if the file is not such a network
 */
export async function openOnnxExtractor(
  path: string,
  preprocessing: Preprocessing,
  output: string | null,
  sha256: string | null = null,
): Promise<Extractor> {
  const bytes = readBytes(path)
  const hash = digest(bytes)
  if (sha256 !== null && sha256.toLowerCase() !== hash) {
    throw new UserError(
      `Invalid extractor ${path}: expected SHA-256 ${sha256} as in --features-sha256, got ${hash}. Use the file with that ` +
        'hash. Another network gives figures that cannot be compared.',
    )
  }
  const session = await ort.InferenceSession.create(bytes).catch((error) => {
    throw new UserError(`onnxruntime cannot open ${path}: ${(error as Error).message.trim()}`)
  })
  const { name: input, fixedBatch, channels: inputChannels } = imageInput(session, path)
  const name = output ?? session.outputNames[0]!
  if (!session.outputNames.includes(name)) {
    throw new UserError(
      `Unknown output "${name}" of ${path}: expected one of ${session.outputNames.join(', ')}.`,
    )
  }
  const batch = fixedBatch ?? defaultBatch
  const { size, mean, std } = preprocessing

  return {
    description: `${path} (SHA-256 ${hash}), output ${name}, images of ${size}×${size}, mean ${mean}, std ${std}`,
    digest: digest(bytes, Buffer.from(JSON.stringify([size, mean, std, name]))),
    async extract(images) {
      if (images.channels > inputChannels) {
        throw new UserError(
          `Invalid extractor ${path}: expected an extractor for RGB images, got one for greyscale images.`,
        )
      }
      return extractInBatches(
        images,
        async (pixels, n) => {
          // A network with a fixed batch size needs a full batch; the additional rows are zero.
          const rows = fixedBatch ?? n
          const x = new Float32Array(rows * inputChannels * size * size)
          await preprocess(images, pixels, n, preprocessing, inputChannels, x)
          const tensor = new ort.Tensor('float32', x, [rows, inputChannels, size, size])
          const results = await session.run({ [input]: tensor })
          return poolPixels(results[name]!, n)
        },
        batch,
      )
    },
    dispose: () => session.release(),
  }
}

function readBytes(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new UserError(`Cannot read the extractor ${path}: ${(error as Error).message}.`)
  }
}

interface ImageInput {
  readonly name: string
  /** Batch size of the network if it is fixed; null if it is symbolic. */
  readonly fixedBatch: number | null
  readonly channels: 1 | 3
}

/** @throws UserError if the network does not have exactly one input of images */
function imageInput({ inputMetadata }: InferenceSession, path: string): ImageInput {
  const [input, ...others] = inputMetadata
  const [batch, channels, ...sides] = input?.isTensor ? input.shape : []
  if (others.length > 0 || sides.length !== 2 || (channels !== 1 && channels !== 3)) {
    const inputs = inputMetadata.map((value) => `${value.name} [${value.isTensor ? value.shape : ''}]`)
    throw new UserError(
      `Invalid extractor ${path}: expected one input of images [N, 1 or 3, height, width], got ${inputs.join(' and ')}.`,
    )
  }
  return { name: input!.name, fixedBatch: typeof batch === 'number' ? batch : null, channels }
}

/** Writes the scaled and normalised images to `x`, [n, inputChannels, size, size]. */
async function preprocess(
  { channels, height, width }: Images,
  pixels: Uint8Array,
  n: number,
  { size, mean, std }: Preprocessing,
  inputChannels: number,
  x: Float32Array,
): Promise<void> {
  const plane = size * size
  const imageSize = channels * height * width
  for (let i = 0; i < n; i++) {
    const image = pixels.subarray(i * imageSize, (i + 1) * imageSize)
    const scaled = await resize({ channels, height, width, pixels: image }, size)
    for (let c = 0; c < inputChannels; c++) {
      const from = channels === 1 ? 0 : c
      const [m, s] = [mean[c] ?? mean[0]!, std[c] ?? std[0]!]
      const start = (i * inputChannels + c) * plane
      for (let p = 0; p < plane; p++) x[start + p] = (scaled[p * channels + from]! / 255 - m) / s
    }
  }
}

/**
 * Scales an image to a square with an antialiased cubic kernel, as FID requires (Parmar et al. 2022).
 * @returns [size, size, channels]
 */
async function resize({ channels, height, width, pixels }: Images, size: number): Promise<Uint8Array> {
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

/** Averages [N, dims, …] over the axes after the second one, and returns the first n rows. */
function poolPixels({ data, dims }: Tensor, n: number): Float32Array {
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
