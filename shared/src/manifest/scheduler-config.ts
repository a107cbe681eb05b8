import { UserError } from '../base/errors.ts'
import type { PredictionType } from '../diffusion/process.ts'
import type { ScheduleConfig } from '../diffusion/schedule.ts'
import type { Clamp } from '../planning/plan.ts'
import type { SamplerOptions } from '../planning/samplers.ts'
import '../base/zod.ts'
import * as z from 'zod'

/** An option of diffusers that is not implemented here: any other value is refused by the option's name. */
function only<const V extends string | boolean | number | null>(value: V) {
  const error = `is not implemented here with another value than ${JSON.stringify(value)}`
  return z.literal(value, { error }).default(value as never)
}

const schedule = {
  _diffusers_version: z.string().default('0.35.0'),
  /** diffusers' own note of which options were not given; says nothing about sampling. */
  _use_default_values: z.array(z.string()).optional(),
  num_train_timesteps: z.int().positive().default(1000),
  beta_start: z.number().default(1e-4),
  beta_end: z.number().default(0.02),
  beta_schedule: z.enum(['linear', 'squaredcos_cap_v2', 'sigmoid']).default('linear'),
  trained_betas: z.array(z.number()).nullable().default(null),
  prediction_type: z.enum(['epsilon', 'sample', 'v_prediction']).default('epsilon'),
  steps_offset: z.int().nonnegative().default(0),
}
const clipping = {
  clip_sample: z.boolean().default(true),
  clip_sample_range: z.number().positive().default(1),
}
const thresholding = {
  thresholding: z.boolean().default(false),
  dynamic_thresholding_ratio: z.number().min(0).max(1).default(0.995),
  sample_max_value: z.number().positive().default(1),
}
const spacing = z.enum(['leading', 'trailing', 'linspace'])
const zeroSnr = { rescale_betas_zero_snr: z.boolean().default(false) }
const sigmas = {
  use_karras_sigmas: z.boolean().nullable().default(false),
  use_exponential_sigmas: z.boolean().nullable().default(false),
  use_beta_sigmas: only(false),
}
const end = { final_sigmas_type: z.enum(['zero', 'sigma_min']).default('zero') }
const flow = {
  use_flow_sigmas: only(false),
  flow_shift: only(1),
  use_dynamic_shifting: only(false),
  time_shift_type: only('exponential'),
}
const sigmaEnds = { sigma_min: only(null), sigma_max: only(null) }
const multistep = {
  ...schedule,
  ...thresholding,
  ...zeroSnr,
  ...sigmas,
  ...end,
  ...flow,
  solver_order: z.union([z.literal(1), z.literal(2), z.literal(3)]).default(2),
}

const ddpm = z.strictObject({
  _class_name: z.literal('DDPMScheduler'),
  ...schedule,
  ...clipping,
  ...thresholding,
  ...zeroSnr,
  variance_type: z
    .enum(['fixed_small', 'fixed_small_log', 'fixed_large', 'learned_range'])
    .default('fixed_small'),
  timestep_spacing: spacing.default('leading'),
})

const ddim = z.strictObject({
  _class_name: z.literal('DDIMScheduler'),
  ...schedule,
  ...clipping,
  ...thresholding,
  ...zeroSnr,
  set_alpha_to_one: z.boolean().default(true),
  timestep_spacing: spacing.default('leading'),
})

const dpmSolver = z.strictObject({
  _class_name: z.literal('DPMSolverMultistepScheduler'),
  ...multistep,
  algorithm_type: z.enum(['dpmsolver++', 'sde-dpmsolver++']).default('dpmsolver++'),
  solver_type: z.enum(['midpoint', 'heun']).default('midpoint'),
  lower_order_final: z.boolean().default(true),
  euler_at_final: z.boolean().default(false),
  use_lu_lambdas: z.boolean().nullable().default(false),
  /** Python writes −Infinity, which JSON lacks: `parseSchedulerConfig` reads it as text. */
  lambda_min_clipped: z.union([z.number(), z.literal('-Infinity')]).default('-Infinity'),
  variance_type: z.enum(['learned_range']).nullable().default(null),
  timestep_spacing: spacing.default('linspace'),
})

const unipc = z.strictObject({
  _class_name: z.literal('UniPCMultistepScheduler'),
  ...multistep,
  ...sigmaEnds,
  shift_terminal: only(null),
  predict_x0: only(true),
  solver_type: z.enum(['bh1', 'bh2']).default('bh2'),
  lower_order_final: z.boolean().default(true),
  disable_corrector: z.array(z.int().nonnegative()).default([]),
  solver_p: only(null),
  timestep_spacing: spacing.default('linspace'),
})

const euler = z.strictObject({
  _class_name: z.literal('EulerDiscreteScheduler'),
  ...schedule,
  ...zeroSnr,
  ...sigmas,
  ...end,
  ...sigmaEnds,
  interpolation_type: only('linear'),
  timestep_type: only('discrete'),
  timestep_spacing: spacing.default('linspace'),
})

const heun = z.strictObject({
  _class_name: z.literal('HeunDiscreteScheduler'),
  ...schedule,
  ...clipping,
  ...sigmas,
  clip_sample: z.boolean().default(false),
  beta_start: z.number().default(0.00085),
  beta_end: z.number().default(0.012),
  timestep_spacing: spacing.default('linspace'),
})

const classes = [ddpm, ddim, dpmSolver, unipc, euler, heun] as const

/**
 * The block that diffusers keeps in `scheduler_config.json`. What a file leaves out has diffusers' default; an option
 * or a value that is not implemented here is refused by its name.
 */
export const schedulerConfig = z.discriminatedUnion('_class_name', classes, {
  error: ({ code }) =>
    code === 'invalid_union'
      ? `expected one of ${classes.map(({ shape }) => shape._class_name.value).join(', ')}`
      : undefined,
})
export type SchedulerConfig = z.infer<typeof schedulerConfig>
export type DdpmSchedulerConfig = z.infer<typeof ddpm>

/**
 * Reads a `scheduler_config.json` as diffusers writes it.
 * @param source what to call it in messages: a path or a URL
 * @throws UserError that names every option that is not implemented, and what was expected
 */
export function parseSchedulerConfig(text: string, source: string): SchedulerConfig {
  let json: unknown
  try {
    json = JSON.parse(text.replace(/(:\s*)(-?Infinity)\b/g, '$1"$2"'))
  } catch (error) {
    throw new UserError(
      `${source} is not JSON (${(error as Error).message}); expected a scheduler_config.json.`,
    )
  }
  const result = schedulerConfig.safeParse(json)
  if (result.success) return result.data
  throw new UserError(`${source} cannot be followed exactly:\n${z.prettifyError(result.error)}`)
}

/** diffusers' names. */
const schedulesOfName = { linear: 'linear', squaredcos_cap_v2: 'cosine', sigmoid: 'sigmoid' } as const
const namesOfSchedule = { linear: 'linear', cosine: 'squaredcos_cap_v2', sigmoid: 'sigmoid' } as const
const predictionTypes = { epsilon: 'epsilon', sample: 'x0', v_prediction: 'v' } as const
const namesOfPrediction = { epsilon: 'epsilon', x0: 'sample', v: 'v_prediction' } as const
const varianceTypes = {
  fixed_small: 'fixedSmall',
  fixed_small_log: 'fixedSmall',
  fixed_large: 'fixedLarge',
  learned_range: 'learnedRange',
} as const
const namesOfVariance = {
  fixedSmall: 'fixed_small',
  fixedLarge: 'fixed_large',
  learnedRange: 'learned_range',
} as const

/** What a scheduler block stands for. */
export interface SchedulerMeaning {
  readonly schedule: ScheduleConfig
  readonly predictionType: PredictionType
  readonly clamp: Clamp
  readonly varianceType: SamplerOptions['varianceType']
  /** The sampler of the block's class and what the block says of it: all but the number of steps. */
  readonly sampling: Pick<SamplerOptions, 'sampler' | 'spacing'> & Partial<SamplerOptions>
}

/**
 * The schedule, the reading of the network's output and the sampler that a scheduler block stands for.
 *
 * In two places it is what diffusers means rather than what it does: DDIM steps to the level it visits next, also
 * where steps do not divide T or lie `linspace`, and DDPM adds no noise to the finished picture.
 */
export function readScheduler(config: SchedulerConfig): SchedulerMeaning {
  return {
    schedule: {
      betaSchedule: schedulesOfName[config.beta_schedule],
      timesteps: config.num_train_timesteps,
      betaStart: config.beta_start,
      betaEnd: config.beta_end,
      ...(config.trained_betas && { betas: config.trained_betas }),
      ...('rescale_betas_zero_snr' in config && config.rescale_betas_zero_snr && { zeroTerminalSnr: true }),
    },
    predictionType: predictionTypes[config.prediction_type],
    clamp: clampOf(config),
    varianceType:
      'variance_type' in config && config.variance_type ? varianceTypes[config.variance_type] : 'fixedSmall',
    sampling: { ...samplingOf(config), offset: config.steps_offset },
  }
}

function clampOf(config: SchedulerConfig): Clamp {
  if ('thresholding' in config && config.thresholding) {
    return { ratio: config.dynamic_thresholding_ratio, max: config.sample_max_value }
  }
  return 'clip_sample' in config && config.clip_sample ? config.clip_sample_range : null
}

function samplingOf(config: SchedulerConfig): SchedulerMeaning['sampling'] {
  switch (config._class_name) {
    case 'DDPMScheduler':
      return { sampler: 'ddpm', spacing: config.timestep_spacing }
    case 'DDIMScheduler':
      return {
        sampler: 'ddim',
        spacing: config.timestep_spacing,
        // What its pipelines pass unless told otherwise.
        eta: 0,
        epsilon: 'raw',
        end: config.set_alpha_to_one ? 'clean' : 'first',
      }
    case 'DPMSolverMultistepScheduler':
      return {
        sampler: config.algorithm_type === 'dpmsolver++' ? 'dpmpp' : 'sde-dpmpp',
        ...laidIn(config, config.use_lu_lambdas),
        order: config.solver_order,
        solver: config.solver_type,
        curvature: 'half',
        lowerOrderFinal: config.lower_order_final,
        eulerAtFinal: config.euler_at_final,
        end: endOf(config),
        ...(config.lambda_min_clipped !== '-Infinity' && { lambdaMin: config.lambda_min_clipped }),
      }
    case 'UniPCMultistepScheduler':
      return {
        sampler: 'unipc',
        ...laidIn(config),
        order: config.solver_order,
        variant: config.solver_type,
        lowerOrderFinal: config.lower_order_final,
        uncorrected: config.disable_corrector,
        end: endOf(config),
      }
    case 'EulerDiscreteScheduler':
      return { sampler: 'euler', ...laidIn(config), within: config.timestep_spacing, end: endOf(config) }
    case 'HeunDiscreteScheduler':
      return { sampler: 'heun', ...laidIn(config), within: config.timestep_spacing }
  }
}

function endOf({ final_sigmas_type }: { final_sigmas_type: 'zero' | 'sigma_min' }): 'clean' | 'first' {
  return final_sigmas_type === 'zero' ? 'clean' : 'first'
}

interface Laid {
  readonly use_karras_sigmas: boolean | null
  readonly use_exponential_sigmas: boolean | null
  readonly timestep_spacing: 'leading' | 'trailing' | 'linspace'
}

function laidIn(config: Laid, lambdas: boolean | null = false): Pick<SamplerOptions, 'spacing'> {
  if (config.use_karras_sigmas) return { spacing: 'karras' }
  return { spacing: lambdas || config.use_exponential_sigmas ? 'lambda' : config.timestep_spacing }
}

/** The scheduler block of a model trained with this schedule and kind of output, every field written out. */
export function writeScheduler(
  schedule: ScheduleConfig,
  predictionType: PredictionType,
  varianceType: SamplerOptions['varianceType'] = 'fixedSmall',
): DdpmSchedulerConfig {
  return {
    _class_name: 'DDPMScheduler',
    _diffusers_version: '0.35.0',
    num_train_timesteps: schedule.timesteps,
    beta_start: schedule.betaStart,
    beta_end: schedule.betaEnd,
    beta_schedule: namesOfSchedule[schedule.betaSchedule],
    trained_betas: schedule.betas ? [...schedule.betas] : null,
    variance_type: namesOfVariance[varianceType],
    clip_sample: true,
    clip_sample_range: 1,
    prediction_type: namesOfPrediction[predictionType],
    thresholding: false,
    dynamic_thresholding_ratio: 0.995,
    sample_max_value: 1,
    timestep_spacing: 'trailing',
    steps_offset: 0,
    rescale_betas_zero_snr: schedule.zeroTerminalSnr ?? false,
  }
}
