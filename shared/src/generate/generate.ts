import { UserError } from '../base/errors.ts'
import { qSample } from '../diffusion/process.ts'
import { planInversion } from '../planning/inversion.ts'
import { planLevels, type SamplerOptions, samplerLevels } from '../planning/samplers.ts'
import { fillNoise, type LoopState, type SamplingRequest, type SamplingStep } from '../sampling/loop.ts'
import { defaultJumps, type Jumps, planRepaint, restoreUnmasked } from '../sampling/repaint.ts'
import { labelOf, matchingLabels } from './classes.ts'
import { type Conditioning, createLoop, type SamplingLoop } from './conditional-loop.ts'
import { type ModelInfo, type Network, planFor, resolveSampling } from './model.ts'

export interface GenerateOptions extends Partial<Omit<SamplerOptions, 'predictionType'>> {
  /** Seed of all randomness: a whole number from 0 to 2⁵³ − 1. */
  readonly seed: number
  /** Number of images. */
  readonly count: number
  /** Index of the first image to generate. Default: 0. The image with a given index is the same in every batch. */
  readonly first?: number
  /**
   * Class name, or a word that several class names share ("star" for "red star" and "blue star"). Each image then has
   * one of the matching classes at random, determined by its seed. Default: null, any class.
   */
  readonly className?: string | null
  /**
   * Scale of classifier-free guidance: 0 ignores the class, 1 uses it as in training, and larger values amplify its effect.
   * Default: the model's. With `init` and without `className` the default is 0, because a random class may not match the
   * images.
   */
  readonly guidance?: number
  /** Guidance rescale φ (Lin et al. 2023), 0 to 1: see `applyGuidance`. Default: the model's. */
  readonly guidanceRescale?: number
  /** Initial noise, [count, channels, height, width]. Default: noise of the seed. */
  readonly noise?: Float32Array
  /** Images to start from, [count, channels, height, width] in [−1, 1]. Use with `strength`, `mask` or both. */
  readonly init?: Float32Array
  /** Amount of noise added to `init` (SDEdit): 0 returns the images, 1 replaces nearly all of them. Default: 1. */
  readonly strength?: number
  /** [count, channels, height, width]: 1 where the image is generated, 0 where `init` is retained (RePaint). */
  readonly mask?: Float32Array
  /** Jumps of RePaint. Default: `defaultJumps`. */
  readonly jumps?: Jumps
  /** Returns whether `onStep` needs the images of a step; `step` is 0 to steps − 1. Default: always. */
  readonly isDue?: (step: number, steps: number) => boolean
  readonly onStep?: (step: SamplingStep) => void | Promise<void>
  readonly signal?: AbortSignal
  /** State of a suspended run with the same options to resume from. */
  readonly resume?: LoopState
  /** Returns whether to stop before the next step and to throw a `Suspension`. Default: never. */
  readonly isSuspended?: () => boolean
}

/**
 * Generates images.
 * @returns [count, channels, height, width], about [−1, 1]
 * @throws UserError for an unknown class or an invalid option; the signal's reason if aborted
 */
export function generate(
  model: ModelInfo,
  network: Network,
  options: GenerateOptions,
): Promise<Float32Array> {
  return generateWith(model, createLoop(network), options)
}

/** Generates images as `generate` does, with a custom loop. */
export function generateWith(
  model: ModelInfo,
  run: SamplingLoop,
  options: GenerateOptions,
): Promise<Float32Array> {
  const { noise, init, strength = 1, mask, jumps = defaultJumps, ...rest } = options
  const { conditioning, request, sampler } = splitOptions(model, rest, init !== undefined)
  checkLengths(request, { noise, init, mask })
  if (!init) {
    if (mask) throw new UserError('Invalid mask: expected an image to apply it to. Pass the image as init.')
    return run(planFor(model, sampler), conditioning, { ...request, ...(noise && { from: noise }) })
  }
  if (!(strength >= 0 && strength <= 1)) {
    throw new UserError(
      `Invalid strength: expected a number from 0 (the unchanged image) to 1 (only noise), got ${strength}.`,
    )
  }
  const { schedule, options: sampling } = resolveSampling(model, sampler)
  const allLevels = samplerLevels(schedule, sampling)
  const steps = Math.floor((allLevels.length - 1) * strength)
  if (steps === 0) return Promise.resolve(init.slice())
  const levels = allLevels.slice(-1 - steps)
  const from = qSample(levels[0]!.alphaBar, init, noise ?? initialNoise(request))
  if (!mask) return run(planLevels(levels, sampling), conditioning, { ...request, from })
  const plan = planRepaint(levels, sampling, jumps)
  return run(plan, conditioning, { ...request, from, afterRow: restoreUnmasked(init, mask, request) })
}

/**
 * Computes the noise from which DDIM approximately reproduces the images. To reproduce them, pass it to `generate` as
 * `noise` with sampler 'ddim', eta 0, clamp null and the same steps and spacing.
 * @param images [count, channels, height, width] in [−1, 1]
 * @returns the shape of images
 */
export function invert(
  model: ModelInfo,
  network: Network,
  images: Float32Array,
  options: GenerateOptions,
): Promise<Float32Array> {
  const { conditioning, request, sampler } = splitOptions(model, options, true)
  const { schedule, options: sampling } = resolveSampling(model, { ...sampler, sampler: 'ddim' })
  const plan = planInversion(samplerLevels(schedule, sampling), { ...sampling, clamp: null })
  return createLoop(network)(plan, conditioning, { ...request, from: images })
}

/**
 * Splits the options into conditioning, loop request and sampler options.
 * @throws UserError for an unknown class or an invalid option
 */
function splitOptions(
  model: ModelInfo,
  options: GenerateOptions,
  fromImages: boolean,
): { conditioning: Conditioning; request: SamplingRequest; sampler: Partial<SamplerOptions> } {
  const {
    seed,
    count,
    first = 0,
    className = null,
    guidance = fromImages && className === null ? 0 : model.sampling.guidance,
    guidanceRescale = model.sampling.guidanceRescale ?? 0,
    isDue,
    onStep,
    signal,
    resume,
    isSuspended,
    ...sampler
  } = options
  if (!Number.isInteger(count) || count < 1) {
    throw new UserError(`Invalid count: expected a whole number of at least 1, got ${count}.`)
  }
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new UserError(`Invalid seed: expected a whole number from 0 to 2⁵³ − 1, got ${seed}.`)
  }
  if (!(guidanceRescale >= 0 && guidanceRescale <= 1)) {
    throw new UserError(`Invalid guidance rescale: expected a number from 0 to 1, got ${guidanceRescale}.`)
  }
  const { channels, height, width } = model.shape
  const indices = Array.from({ length: count }, (_, i) => first + i)
  const candidates = matchingLabels(model.classes, className)
  const labels = Float32Array.from(indices, (image) => labelOf(candidates, seed, image))
  return {
    conditioning: { classes: model.classes.length, labels, scale: guidance, rescale: guidanceRescale },
    request: {
      seed,
      indices,
      size: channels * height * width,
      ...(isDue && { isDue }),
      ...(onStep && { onStep }),
      ...(signal && { signal }),
      ...(resume && { resume }),
      ...(isSuspended && { isSuspended }),
    },
    sampler,
  }
}

/**
 * Checks the lengths of noise, init and mask.
 * @throws UserError if an array does not have count · size values
 */
function checkLengths(
  { indices, size }: SamplingRequest,
  arrays: Readonly<Record<string, Float32Array | undefined>>,
): void {
  const expected = indices.length * size
  for (const [name, values] of Object.entries(arrays)) {
    if (values && values.length !== expected) {
      throw new UserError(
        `Invalid ${name}: expected ${expected} values (${indices.length} images of ${size}), got ${values.length}.`,
      )
    }
  }
}

function initialNoise({ seed, indices, size }: SamplingRequest): Float32Array {
  const noise = new Float32Array(indices.length * size)
  fillNoise(seed, indices, 0, noise)
  return noise
}
