import { classOf, type GenerateOptions, type ModelInfo, noiseBetween } from '@ddpm/shared'
import { readMask, readStartingImages } from '../data/starting-images.ts'

/** Where sampling starts: from the seed's noise by default. */
export interface StartOptions {
  readonly seed: number
  readonly count: number
  readonly className: string | null
  /** Second seed: interpolates between the noise of the two seeds. */
  readonly toSeed?: number | undefined
  /** Path of the images to start from (SDEdit, RePaint). */
  readonly from?: string | undefined
  /** SDEdit strength, 0 to 1. Default: 0.6, or 1 with a mask. */
  readonly strength?: number | undefined
  /** Path of the RePaint mask: white is generated, black is retained. */
  readonly mask?: string | undefined
  /** RePaint's jump length in levels. */
  readonly jump: number
  /** RePaint's number of resamplings: how often the levels of a jump are denoised. */
  readonly resample: number
}

/**
 * Reads the files and computes the noise that sampling starts from, as options of `generate`.
 * @throws UserError if an image cannot be read or does not have the model's size
 */
export async function startingPoint(
  info: ModelInfo,
  options: StartOptions,
): Promise<Partial<GenerateOptions>> {
  const { from, mask, count, seed, toSeed, className } = options
  if (toSeed !== undefined) {
    const { channels, height, width } = info.shape
    return {
      noise: noiseBetween(channels * height * width, [seed, toSeed], count),
      // All images of an interpolation get the class of the first one.
      className: classOf(info, { seed, image: 0, name: className }),
    }
  }
  if (from === undefined) return {}
  const init = await readStartingImages(from, count, info.shape)
  const { jump, resample, strength = mask ? 1 : 0.6 } = options
  return {
    init,
    strength,
    ...(mask && { mask: await readMask(mask, count, info.shape), jumps: { jump, resample } }),
  }
}
