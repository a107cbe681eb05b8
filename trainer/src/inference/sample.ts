import {
  type GenerateOptions,
  generate,
  invert,
  type ModelInfo,
  type Network,
  type SamplingStep,
} from '@ddpm/shared'

/** Receives the sampling steps done so far, summed over the images, and their total. */
export type OnProgress = (done: number, total: number) => void

/**
 * Generates any number of images, in chunks.
 * @param onStep receives every step of every chunk, and the index of the chunk's first image
 * @returns [count, channels, height, width], approximately in [−1, 1]
 */
export async function sample(
  info: ModelInfo,
  network: Network,
  options: GenerateOptions,
  onProgress: OnProgress = () => {},
  onStep: (step: SamplingStep, first: number) => void = () => {},
): Promise<Float32Array> {
  return inChunks(info, options, (part, first) =>
    generate(info, network, {
      ...part,
      onStep(step) {
        onProgress(first * step.steps + part.count * (step.step + 1), options.count * step.steps)
        onStep(step, first)
      },
    }),
  )
}

/**
 * Inverts images to the noise that generates them (DDIM inversion), in chunks.
 * @param images [count, channels, height, width] in [−1, 1]
 * @returns noise of the same shape
 */
export async function invertImages(
  info: ModelInfo,
  network: Network,
  images: Float32Array,
  options: GenerateOptions,
  onProgress: OnProgress = () => {},
): Promise<Float32Array> {
  return inChunks(info, { ...options, init: images }, ({ init, ...part }, first) =>
    invert(info, network, init!, {
      ...part,
      onStep: ({ step, steps }) => onProgress(first * steps + part.count * (step + 1), options.count * steps),
    }),
  )
}

/** Max images per call of the network. An image does not depend on the other images of its chunk. */
const chunk = 64

/** Splits the options, with their per-image tensors, into chunks and concatenates the results. */
async function inChunks(
  { shape: { channels, height, width } }: ModelInfo,
  options: GenerateOptions,
  generateChunk: (part: GenerateOptions, first: number) => Promise<Float32Array>,
): Promise<Float32Array> {
  const size = channels * height * width
  const out = new Float32Array(options.count * size)
  const { noise, init, mask } = options
  for (let first = 0; first < options.count; first += chunk) {
    const count = Math.min(chunk, options.count - first)
    const slice = (values: Float32Array) => values.subarray(first * size, (first + count) * size)
    const part = {
      ...options,
      first: (options.first ?? 0) + first,
      count,
      ...(noise && { noise: slice(noise) }),
      ...(init && { init: slice(init) }),
      ...(mask && { mask: slice(mask) }),
    }
    out.set(await generateChunk(part, first), first * size)
  }
  return out
}
