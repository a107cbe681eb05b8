import { UserError } from '../base/errors.ts'
import { guide } from '../diffusion/guidance.ts'
import { createSchedule, type Schedule } from '../diffusion/schedule.ts'
import type { Manifest } from '../manifest/manifest.ts'
import { readScheduler } from '../manifest/scheduler-config.ts'
import { planInversion } from '../planning/inversion.ts'
import type { Plan } from '../planning/plan.ts'
import {
  defaultSampling,
  planLevels,
  planSampler,
  type SamplerOptions,
  samplerLevels,
} from '../planning/samplers.ts'
import { domains, uniforms } from '../random/random.ts'
import {
  type Denoiser,
  fillNoise,
  runPlan,
  type SamplingRequest,
  type SamplingStep,
} from '../sampling/loop.ts'
import { defaultJumps, type Jumps, keepUnmasked, planRepaint } from '../sampling/repaint.ts'

/** What every sampling front end needs to know of a model: all of it stands in the manifest. */
export type ModelInfo = Pick<Manifest, 'shape' | 'classes' | 'scheduler' | 'sampling'>

/**
 * The network, wherever it runs.
 * @param x [count, channels, height, width]
 * @param timestep [count], index of the schedule; between two rows of it the nearest is meant
 * @param label [count], class index or the number of classes for "no class"; null where the model has no classes
 * @returns as x, or with twice the channels where it also says a variance, in memory that the next call leaves alone
 */
export type Network = (
  x: Float32Array,
  timestep: Float32Array,
  label: Float32Array | null,
) => Float32Array | Promise<Float32Array>

export interface GenerateOptions extends Partial<Omit<SamplerOptions, 'predictionType'>> {
  readonly seed: number
  readonly count: number
  /** Index of the first picture of this seed, 0 unless told: pictures 4…7 are the same whether drawn alone or not. */
  readonly first?: number
  /**
   * A class, or a word that several classes have in common ("star" for "red star", "blue star" …), of which every
   * picture then takes one at random, by its seed; null takes any class.
   */
  readonly className?: string | null
  /**
   * Classifier-free guidance: 1 follows the class as trained, more exaggerates it; 0 ignores it, which is the default
   * for given pictures of no given class: one at random would draw against them.
   */
  readonly guidance?: number
  /** How far guidance is brought back to the spread it found, 0 … 1: see `guide`. */
  readonly guidanceRescale?: number
  /** The noise to start from, [count, channels, height, width]; the seed's own unless given. */
  readonly noise?: Float32Array
  /** A picture to start from instead, [count, channels, height, width] in [−1, 1]; goes with strength, mask or both. */
  readonly init?: Float32Array
  /** How much of the way to noise the picture goes (SDEdit): 0 leaves it, 1, the default, lets nearly nothing of it through. */
  readonly strength?: number
  /** [count, channels, height, width]: 1 where something new is drawn, 0 where the picture stays (RePaint). */
  readonly mask?: Float32Array
  readonly jumps?: Jumps
  /** Whether `onStep` looks at the pictures of a step, 0 … steps − 1; it always does unless told. */
  readonly isDue?: (step: number, steps: number) => boolean
  readonly onStep?: (step: SamplingStep) => void | Promise<void>
  readonly signal?: AbortSignal
}

/** A model's schedule, and how it is sampled from: what is not said is as the manifest has it. */
export function resolveSampling(
  model: Pick<ModelInfo, 'scheduler' | 'sampling'>,
  given: Partial<SamplerOptions> = {},
): { schedule: Schedule; options: SamplerOptions } {
  const { schedule, sampling: block, ...reading } = readScheduler(model.scheduler)
  const { sampler: offered, steps, spacing, guidance, guidanceRescale, ...own } = model.sampling
  const sampler = given.sampler ?? offered
  const options = {
    ...defaultSampling,
    ...reading,
    // What block and manifest say of one sampler holds for no other.
    ...(block.sampler === sampler && block),
    ...(offered === sampler && own),
    sampler,
    steps,
    spacing,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    predictionType: reading.predictionType,
  }
  return { schedule: createSchedule(schedule), options }
}

/** The sampler's table for a model. */
export function planFor(
  model: Pick<ModelInfo, 'scheduler' | 'sampling'>,
  given: Partial<SamplerOptions> = {},
): Plan {
  const { schedule, options } = resolveSampling(model, given)
  return planSampler(schedule, options)
}

/** What a loop asks the network for. */
export interface Conditioning {
  /** How many classes the network knows, which is also the label of none; 0: it takes no label. */
  readonly classes: number
  /** [count], of each picture's class. */
  readonly labels: Float32Array
  /** Of guidance, see `guide`: at 0 only the network without a class is asked, at 1 only that with it. */
  readonly scale: number
  readonly rescale: number
}

/** Runs a plan, with a network at hand: as `runPlan` does, wherever x lies meanwhile. */
export type Loop = (plan: Plan, asked: Conditioning, request: SamplingRequest) => Promise<Float32Array>

/** The loop of sampling.ts around a network that takes and gives numbers. */
export function loopOf(network: Network): Loop {
  return (plan, asked, request) => runPlan(plan, denoiserFor(network, asked, request.size), request)
}

/**
 * Draws pictures: plan, noise, guidance and loop together.
 * @returns [count, channels, height, width], about [−1, 1]
 * @throws UserError for an unknown class or an impossible option; the signal's reason when aborted
 */
export function generate(
  model: ModelInfo,
  network: Network,
  options: GenerateOptions,
): Promise<Float32Array> {
  return generateWith(model, loopOf(network), options)
}

/** The same with a loop of one's own. */
export function generateWith(model: ModelInfo, run: Loop, options: GenerateOptions): Promise<Float32Array> {
  const { noise, init: image, strength = 1, mask, jumps = defaultJumps, ...rest } = options
  const { asked, request, sampler } = prepare(model, rest, image !== undefined)
  const length = request.indices.length * request.size
  for (const [name, values] of Object.entries({ noise, image, mask })) {
    if (values && values.length !== length) {
      throw new UserError(
        `Found ${values.length} numbers of ${name}; expected ${length}: ${request.indices.length} pictures of ${request.size}.`,
      )
    }
  }
  if (!image) {
    if (mask) throw new UserError('Found a mask without a picture; give the picture that it is laid over.')
    return run(planFor(model, sampler), asked, { ...request, ...(noise && { from: noise }) })
  }
  if (!(strength >= 0 && strength <= 1)) {
    throw new UserError(`Found strength ${strength}; expected a number from 0 (the picture itself) to 1.`)
  }
  const { schedule, options: sampling } = resolveSampling(model, sampler)
  const all = samplerLevels(schedule, sampling)
  const kept = all.length - 1 - Math.floor((all.length - 1) * strength)
  if (kept === all.length - 1) return Promise.resolve(image.slice())
  const levels = all.slice(kept)
  const from = noised(image, levels[0]!.alphaBar, noise ?? firstNoise(request))
  if (!mask) return run(planLevels(levels, sampling), asked, { ...request, from })
  const plan = planRepaint(levels, sampling, jumps)
  return run(plan, asked, { ...request, from, afterRow: keepUnmasked(image, mask, request) })
}

/**
 * The noise from which DDIM leads to given pictures, for `noise` of `generate`: with eta 0 and clamp null there, and
 * the same steps and spacing, it draws them again, nearly.
 * @param pictures [count, channels, height, width] in [−1, 1]
 * @returns as pictures
 */
export function invert(
  model: ModelInfo,
  network: Network,
  images: Float32Array,
  options: GenerateOptions,
): Promise<Float32Array> {
  const { asked, request, sampler } = prepare(model, options, true)
  const { schedule, options: sampling } = resolveSampling(model, { ...sampler, sampler: 'ddim' })
  const plan = planInversion(samplerLevels(schedule, sampling), { ...sampling, clamp: null })
  return loopOf(network)(plan, asked, { ...request, from: images })
}

/** Takes the options apart: what the network is asked, what the loop needs, what decides the plan. */
function prepare(
  model: ModelInfo,
  options: GenerateOptions,
  fromImages: boolean,
): { asked: Conditioning; request: SamplingRequest; sampler: Partial<SamplerOptions> } {
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
    ...sampler
  } = options
  if (!Number.isInteger(count) || count < 1) {
    throw new UserError(`Found a count of ${count} pictures; expected a whole number of at least 1.`)
  }
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new UserError(`Found the seed ${seed}; expected a whole number from 0 to 2⁵³ − 1.`)
  }
  if (!(guidanceRescale >= 0 && guidanceRescale <= 1)) {
    throw new UserError(`Found guidance rescale ${guidanceRescale}; expected a number from 0 to 1.`)
  }
  const { channels, height, width } = model.shape
  const size = channels * height * width
  const images = Array.from({ length: count }, (_, i) => first + i)
  const choice = classesNamed(model.classes, className)
  const labels = Float32Array.from(images, (image) => labelOf(choice, seed, image))
  return {
    asked: { classes: model.classes.length, labels, scale: guidance, rescale: guidanceRescale },
    request: {
      seed,
      indices: images,
      size,
      ...(isDue && { isDue }),
      ...(onStep && { onStep }),
      ...(signal && { signal }),
    },
    sampler,
  }
}

function firstNoise({ seed, indices: images, size }: SamplingRequest): Float32Array {
  const noise = new Float32Array(images.length * size)
  fillNoise(seed, images, 0, noise)
  return noise
}

/** q(x_t | x_0), DDPM eq. 4. */
function noised(image: Float32Array, alphaBar: number, noise: Float32Array): Float32Array {
  const [signal, deviation] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)]
  return image.map((value, i) => signal * value + deviation * noise[i]!)
}

/** The words that several classes have in common: each may be asked for in their place. */
export function sharedWords(classes: readonly string[]): string[] {
  const words = classes.flatMap((name) => [...new Set(name.split(' '))])
  return [...new Set(words.filter((word, i) => words.indexOf(word) !== i && !classes.includes(word)))]
}

/** The class that a picture of a seed takes, of those that a name stands for; null where the model knows none. */
export function classOf(
  { classes }: Pick<ModelInfo, 'classes'>,
  { seed, image, name }: { seed: number; image: number; name: string | null },
): string | null {
  return classes[labelOf(classesNamed(classes, name), seed, image)] ?? null
}

/** The label of one class, the first of those that a name stands for; that of "no class" for null. */
export function classLabel({ classes }: Pick<ModelInfo, 'classes'>, name: string | null): number {
  return name === null ? classes.length : classesNamed(classes, name)[0]!
}

function labelOf(choice: readonly number[], seed: number, image: number): number {
  const [u] = uniforms(seed, { domain: domains.label, image, step: 0 }, 1)
  return choice[Math.floor(u! * choice.length)] ?? 0
}

/** The labels of the classes that a name stands for. */
function classesNamed(classes: readonly string[], name: string | null): number[] {
  const labels = [...classes.keys()]
  if (name === null) return labels
  const exact = classes.indexOf(name)
  if (exact >= 0) return [exact]
  const sharing = labels.filter((label) => classes[label]!.split(' ').includes(name))
  if (sharing.length > 0) return sharing
  throw new UserError(
    classes.length === 0
      ? `Found the class "${name}", but this model was trained without classes. Leave the class out.`
      : `Found the class "${name}"; this model knows ${classes.join(', ')}.`,
  )
}

/** Asks the network for each picture's class, without any at guidance 0, and both ways elsewhere but at 1. */
function denoiserFor(
  network: Network,
  { classes, labels, scale, rescale }: Conditioning,
  size: number,
): Denoiser {
  const count = labels.length
  const timestep = new Float32Array(count)
  const none = new Float32Array(count).fill(classes)
  return async (x, t) => {
    timestep.fill(t)
    if (classes === 0) return network(x, timestep, null)
    if (scale === 0) return network(x, timestep, none)
    const output = await network(x, timestep, labels)
    return scale === 1
      ? output
      : guide(output, await network(x, timestep, none), { count, size, scale, rescale })
  }
}
