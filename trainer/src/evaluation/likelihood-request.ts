import { createSchedule, fromSchedulerConfig, UserError, type VarianceType } from '@ddpm/shared'
import type { WeightsKind } from '../inference/graph.ts'
import type { OpenedModel } from '../inference/model.ts'
import { digest } from './inputs/cache.ts'
import type { EvaluationSet } from './inputs/images.ts'
import type { BoundRequest } from './likelihood.ts'

export interface LikelihoodOptions {
  /** Number of images. Default: all. */
  readonly images?: number | undefined
  /** Number of timesteps at which the bound is evaluated per image. 'all' computes the exact sum. */
  readonly terms: number | 'all'
  /** Variances of the reverse process. Default: the model's. */
  readonly variance?: VarianceType | undefined
  /** Conditions the model on the class labels of the images. */
  readonly class: boolean
  readonly weights: WeightsKind
  readonly seed: number
}

/** A validated request with the settings that determine its result. */
export interface PreparedLikelihood {
  readonly request: BoundRequest
  readonly conditioning: Conditioning
  /** Settings whose hash names the cached result. */
  readonly settings: Readonly<Record<string, unknown>>
}

/**
 * Converts options to a request for `measureBound`.
 * @throws UserError if an option is invalid for the model or the images
 */
export function prepareLikelihood(
  path: string,
  model: OpenedModel,
  set: EvaluationSet,
  options: LikelihoodOptions,
): PreparedLikelihood {
  const { dataset, source, split } = set
  const scheduler = fromSchedulerConfig(model.info.scheduler)
  const schedule = createSchedule(scheduler.schedule)
  const terms = options.terms === 'all' ? schedule.timesteps : options.terms
  if (terms < 2 || terms > schedule.timesteps) {
    throw new UserError(
      `Invalid --terms ${terms}: expected an integer from 2 to ${schedule.timesteps}, or "all".`,
    )
  }
  const images = options.images ?? dataset.count
  if (images < 1 || images > dataset.count) {
    throw new UserError(
      `Invalid --images ${images}: expected an integer from 1 to ${dataset.count}, the number of images of ${source}.`,
    )
  }
  const varianceType = options.variance ?? scheduler.varianceType
  if (varianceType === 'learnedRange' && scheduler.varianceType !== 'learnedRange') {
    throw new UserError(
      `Invalid --variance learnedRange: ${path} has no learned variances. Train with --variance-type learnedRange, or ` +
        'use fixedSmall or fixedLarge.',
    )
  }
  const { conditioning, labels } = conditionOn(model, set, options.class)
  const { seed, weights } = options
  return {
    conditioning,
    settings: {
      model: model.digest,
      weights,
      data: source,
      split,
      dataset: digest(dataset.pixels),
      images,
      classes: storedConditioning[conditioning],
      variance: varianceType,
      terms,
      seed,
    },
    request: {
      predictionType: scheduler.predictionType,
      // Dynamic thresholds depend on the image. The bound uses the range of the data instead.
      clamp: typeof scheduler.clamp === 'object' && scheduler.clamp !== null ? 1 : scheduler.clamp,
      varianceType,
      schedule,
      network: model.network,
      dataset,
      labels,
      images,
      terms,
      seed,
    },
  }
}

/** Whether the model has classes, and whether it is conditioned on the class labels of the images. */
export type Conditioning = 'unconditional' | 'unlabelled' | 'labelled'

/** Words in the settings of cached results. Changing them would invalidate results of earlier versions. */
const storedConditioning: Readonly<Record<Conditioning, string>> = {
  unconditional: 'no classes',
  unlabelled: 'classes not told',
  labelled: 'each told its class',
}

/** @returns the labels, [count]; null if the model has no classes */
function conditionOn(
  { info: { classes } }: OpenedModel,
  { dataset, source }: EvaluationSet,
  conditional: boolean,
): { labels: ArrayLike<number> | null; conditioning: Conditioning } {
  if (classes.length === 0) return { labels: null, conditioning: 'unconditional' }
  if (!conditional || dataset.labels === null) {
    return { labels: new Uint16Array(dataset.count).fill(classes.length), conditioning: 'unlabelled' }
  }
  if (dataset.classes.join('\n') !== classes.join('\n')) {
    throw new UserError(
      `Invalid classes of ${source}: expected the model's classes ${classes.join(', ')}, got ` +
        `${dataset.classes.join(', ')}. Use images with the same classes, or pass --no-class.`,
    )
  }
  return { labels: dataset.labels, conditioning: 'labelled' }
}
