import * as z from 'zod'
import type { PredictionType } from './diffusion.ts'
import { UserError } from './errors.ts'
import { samplers, timestepSpacings } from './samplers.ts'
import type { ScheduleConfig } from './schedule.ts'

// Zod otherwise probes whether it may compile code, which pages with a strict content policy report as an attempt to.
z.config({ jitless: true })

/** The manifest format this code writes; a reader refuses later ones. */
export const manifestVersion = 1

/** A SHA-256 in hexadecimal. */
export const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 as 64 lower-case hexadecimal digits')

const part = '[A-Za-z0-9][A-Za-z0-9._-]{0,63}'

/** One half of a model's name: letters, digits, dot, hyphen and underscore, starting with a letter or digit. */
export const namePart = z.string().regex(new RegExp(`^${part}$`))

/** `owner/name`. */
export const modelName = z
  .string()
  .regex(
    new RegExp(`^${part}/${part}$`),
    'expected owner/name made of letters, digits, ".", "-" and "_", at most 64 characters each',
  )

/**
 * The block that diffusers keeps in `scheduler_config.json`, every field written out. Options that are not
 * implemented here are literals, so that a file which uses one is refused by its name.
 */
const scheduler = z.strictObject({
  _class_name: z.enum(['DDPMScheduler', 'DDIMScheduler']),
  _diffusers_version: z.string(),
  num_train_timesteps: z.int().positive(),
  beta_start: z.number(),
  beta_end: z.number(),
  beta_schedule: z.enum(['linear', 'squaredcos_cap_v2', 'sigmoid']),
  trained_betas: z.null(),
  variance_type: z.enum(['fixed_small', 'fixed_large']),
  clip_sample: z.boolean(),
  clip_sample_range: z.number().positive(),
  prediction_type: z.enum(['epsilon', 'sample', 'v_prediction']),
  thresholding: z.literal(false),
  dynamic_thresholding_ratio: z.number(),
  sample_max_value: z.number(),
  timestep_spacing: z.enum(['leading', 'trailing', 'linspace']),
  steps_offset: z.literal(0),
  rescale_betas_zero_snr: z.literal(false),
})
export type SchedulerConfig = z.infer<typeof scheduler>

const file = z.strictObject({
  /** What the file is for: 'graph' is the ONNX model, 'preview' a grid of samples. */
  role: z.enum(['graph', 'preview']),
  path: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'expected a plain file name'),
  mediaType: z.string(),
  bytes: z.int().positive(),
  sha256,
})
export type ManifestFile = z.infer<typeof file>

/** The schema of a manifest, for those who describe or check it. */
export const manifestSchema = z.strictObject({
  version: z.literal(manifestVersion),
  name: modelName,
  description: z.string(),
  licence: z.string(),
  /** Of one picture; values are in [−1, 1]. */
  shape: z.strictObject({
    channels: z.int().positive(),
    height: z.int().positive(),
    width: z.int().positive(),
  }),
  /** Names of the classes, in the order of their labels; empty where the model knows none. */
  classes: z.array(z.string()),
  files: z.array(file).refine((files) => files.filter(({ role }) => role === 'graph').length === 1, {
    error: 'expected exactly one file with the role "graph"',
  }),
  /** Names in the ONNX graph. `label` holds a class index, or the number of classes for "no class". */
  inputs: z.strictObject({ sample: z.string(), timestep: z.string(), label: z.string().nullable() }),
  output: z.string(),
  training: z.strictObject({
    recipe: z.string(),
    data: z.string(),
    pictures: z.int().nonnegative(),
    parameters: z.int().positive(),
    steps: z.int().nonnegative(),
    batchSize: z.int().nonnegative(),
    seconds: z.number().nonnegative(),
    weights: z.enum(['ema', 'raw']),
    loss: z.number().nullable(),
    validationLoss: z.number().nullable(),
  }),
  scheduler,
  /** What a page offers first. */
  sampling: z.strictObject({
    sampler: z.enum(samplers),
    steps: z.int().positive(),
    spacing: z.enum(timestepSpacings),
    guidance: z.number().nonnegative(),
  }),
})

/** What is published beside a model. */
export type Manifest = z.infer<typeof manifestSchema>

/**
 * Reads a manifest.
 * @param text JSON
 * @param source what to call it in messages: a path or a URL
 * @throws UserError that lists every field that is wrong and what was expected there
 */
export function parseManifest(text: string, source: string): Manifest {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new UserError(`${source} is not JSON (${(error as Error).message}); expected a model's manifest.`)
  }
  const version = (json as { version?: unknown } | null)?.version
  if (typeof version === 'number' && version > manifestVersion) {
    throw new UserError(
      `${source} has manifest version ${version}; this program reads up to ${manifestVersion}. Update the program.`,
    )
  }
  const result = manifestSchema.safeParse(json)
  if (result.success) return result.data
  throw new UserError(`${source} is not a valid manifest:\n${z.prettifyError(result.error)}`)
}

/** A manifest as the JSON text that is hashed, stored and served. */
export function formatManifest(value: Manifest): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

/** The ONNX file of a model. */
export function graphFile({ files }: Manifest): ManifestFile {
  return files.find(({ role }) => role === 'graph')!
}

/** diffusers' names. */
const schedulesOfName = { linear: 'linear', squaredcos_cap_v2: 'cosine', sigmoid: 'sigmoid' } as const
const namesOfSchedule = { linear: 'linear', cosine: 'squaredcos_cap_v2', sigmoid: 'sigmoid' } as const
const predictionTypes = { epsilon: 'epsilon', sample: 'x0', v_prediction: 'v' } as const

/** The schedule and the meaning of the network's output that a scheduler block stands for. */
export function readScheduler(config: SchedulerConfig): {
  schedule: ScheduleConfig
  predictionType: PredictionType
  clamp: number | null
  varianceType: 'fixedSmall' | 'fixedLarge'
} {
  return {
    schedule: {
      betaSchedule: schedulesOfName[config.beta_schedule],
      timesteps: config.num_train_timesteps,
      betaStart: config.beta_start,
      betaEnd: config.beta_end,
    },
    predictionType: predictionTypes[config.prediction_type],
    clamp: config.clip_sample ? config.clip_sample_range : null,
    varianceType: config.variance_type === 'fixed_small' ? 'fixedSmall' : 'fixedLarge',
  }
}

/** The scheduler block of a model trained with this schedule and kind of output. */
export function writeScheduler(schedule: ScheduleConfig, predictionType: PredictionType): SchedulerConfig {
  return {
    _class_name: 'DDPMScheduler',
    _diffusers_version: '0.35.0',
    num_train_timesteps: schedule.timesteps,
    beta_start: schedule.betaStart,
    beta_end: schedule.betaEnd,
    beta_schedule: namesOfSchedule[schedule.betaSchedule],
    trained_betas: null,
    variance_type: 'fixed_small',
    clip_sample: true,
    clip_sample_range: 1,
    prediction_type: predictionType === 'x0' ? 'sample' : predictionType === 'v' ? 'v_prediction' : 'epsilon',
    thresholding: false,
    dynamic_thresholding_ratio: 0.995,
    sample_max_value: 1,
    timestep_spacing: 'trailing',
    steps_offset: 0,
    rescale_betas_zero_snr: false,
  }
}
