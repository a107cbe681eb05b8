import type { GenerateOptions } from '@ddpm/shared'
import { psnr } from '../image/psnr.ts'
import type { OpenedModel } from './model.ts'
import { invertImages, type OnProgress, sample } from './sample.ts'

/** Images, their reconstructions, and how much they differ. */
export interface Reconstruction {
  /** [2·count, C, H, W]: each image, followed by its reconstruction. */
  readonly pairs: Float32Array
  /** Peak signal-to-noise ratio in dB: of all images together, and the range over single images. */
  readonly psnr: { readonly overall: number; readonly min: number; readonly max: number }
  /** Statistics of the latent noise; standard normal noise has mean 0 and deviation 1. */
  readonly noise: { readonly mean: number; readonly deviation: number }
}

/**
 * Inverts images to noise with deterministic DDIM, then generates them again from that noise.
 * @param images [count, channels, height, width] in [−1, 1]
 */
export async function reconstruct(
  { info, network }: OpenedModel,
  images: Float32Array,
  options: GenerateOptions,
  onProgress: OnProgress,
): Promise<Reconstruction> {
  // Sampling reverses the inversion only without clamping and noise. The classes of the images are unknown, so the
  // default is guidance 0, which is unconditional.
  const guidance = options.guidance ?? (options.className === null ? 0 : 1)
  const deterministic = {
    ...options,
    sampler: 'ddim',
    eta: 0,
    clamp: null,
    guidance,
    guidanceRescale: 0,
  } as const
  const noise = await invertImages(info, network, images, deterministic, (done, total) =>
    onProgress(done, 2 * total),
  )
  const reconstructed = await sample(info, network, { ...deterministic, noise }, (done, total) =>
    onProgress(total + done, 2 * total),
  )
  const { count } = options
  const size = images.length / count
  const image = (values: Float32Array, i: number) => values.subarray(i * size, (i + 1) * size)
  const pairs = new Float32Array(2 * images.length)
  for (let i = 0; i < count; i++) {
    pairs.set(image(images, i), 2 * i * size)
    pairs.set(image(reconstructed, i), (2 * i + 1) * size)
  }
  const each = Array.from({ length: count }, (_, i) => psnr(image(images, i), image(reconstructed, i)))
  return {
    pairs,
    psnr: { overall: psnr(images, reconstructed), min: Math.min(...each), max: Math.max(...each) },
    noise: momentsOf(noise),
  }
}

function momentsOf(values: Float32Array): { mean: number; deviation: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
  return { mean, deviation: Math.sqrt(variance) }
}
