import { UserError } from './errors.ts'
import { type Manifest, readScheduler } from './manifest.ts'
import { domains, uniforms } from './random.ts'
import { defaultSampling, type Plan, planSampler, type SamplerOptions } from './samplers.ts'
import { type Denoiser, guide, runPlan, type SamplingStep } from './sampling.ts'
import { createSchedule } from './schedule.ts'

/** What every sampling front end needs to know of a model: all of it stands in the manifest. */
export type ModelFacts = Pick<Manifest, 'shape' | 'classes' | 'scheduler' | 'sampling'>

/**
 * The network, wherever it runs.
 * @param x [count, channels, height, width]
 * @param timestep [count], index of the schedule
 * @param label [count], class index or the number of classes for "no class"; null where the model has no classes
 * @returns as x, in memory that the next call leaves alone
 */
export type Network = (
  x: Float32Array,
  timestep: Float32Array,
  label: Float32Array | null,
) => Float32Array | Promise<Float32Array>

export interface GenerateOptions extends Partial<Omit<SamplerOptions, 'predictionType' | 'clamp'>> {
  readonly seed: number
  readonly count: number
  /** Index of the first picture of this seed, 0 unless told: pictures 4…7 are the same whether drawn alone or not. */
  readonly first?: number
  /**
   * A class, or a word that several classes have in common ("star" for "red star", "blue star" …), of which every
   * picture then takes one at random, by its seed; null takes any class.
   */
  readonly className?: string | null
  /** Classifier-free guidance: 1 follows the class as trained, more exaggerates it; 0 ignores it. */
  readonly guidance?: number
  readonly onStep?: (step: SamplingStep) => void | Promise<void>
  readonly signal?: AbortSignal
}

/** The sampler's table for a model; what is not said is as the manifest has it. */
export function planFor(model: ModelFacts, options: Partial<SamplerOptions> = {}): Plan {
  const { schedule, predictionType, clamp, varianceType } = readScheduler(model.scheduler)
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  return planSampler(createSchedule(schedule), {
    ...defaultSampling,
    sampler: model.sampling.sampler,
    steps: model.sampling.steps,
    spacing: model.sampling.spacing,
    varianceType,
    ...given,
    predictionType,
    clamp,
  })
}

/**
 * Draws pictures: plan, noise, guidance and loop together.
 * @returns [count, channels, height, width], about [−1, 1]
 * @throws UserError for an unknown class or an impossible option; the signal's reason when aborted
 */
export function generate(
  model: ModelFacts,
  network: Network,
  options: GenerateOptions,
): Promise<Float32Array> {
  const {
    seed,
    count,
    first = 0,
    guidance = model.sampling.guidance,
    onStep,
    signal,
    ...samplerOptions
  } = options
  if (!Number.isInteger(count) || count < 1) {
    throw new UserError(`Found a count of ${count} pictures; expected a whole number of at least 1.`)
  }
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new UserError(`Found the seed ${seed}; expected a whole number from 0 to 2⁵³ − 1.`)
  }
  const { channels, height, width } = model.shape
  const pictures = Array.from({ length: count }, (_, i) => first + i)
  const choice = classesNamed(model.classes, options.className ?? null)
  const labels = Float32Array.from(pictures, (picture) => {
    const [u] = uniforms(seed, { domain: domains.label, picture, step: 0 }, 1)
    return choice[Math.floor(u! * choice.length)] ?? 0
  })
  const classes = model.classes.length
  return runPlan(planFor(model, samplerOptions), denoiserFor(network, { classes, labels, guidance }), {
    seed,
    pictures,
    size: channels * height * width,
    ...(onStep && { onStep }),
    ...(signal && { signal }),
  })
}

/** The words that several classes have in common: each may be asked for in their place. */
export function sharedWords(classes: readonly string[]): string[] {
  const words = classes.flatMap((name) => [...new Set(name.split(' '))])
  return [...new Set(words.filter((word, i) => words.indexOf(word) !== i && !classes.includes(word)))]
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

/** Asks the network for each picture's class, with a second evaluation without any where guidance is not 1. */
function denoiserFor(
  network: Network,
  { classes, labels, guidance }: { classes: number; labels: Float32Array; guidance: number },
): Denoiser {
  const filled = (value: number) => new Float32Array(labels.length).fill(value)
  return async (x, t) => {
    if (classes === 0) return network(x, filled(t), null)
    const output = await network(x, filled(t), labels)
    return guidance === 1 ? output : guide(output, await network(x, filled(t), filled(classes)), guidance)
  }
}
