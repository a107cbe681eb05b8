import { UserError } from '../base/errors.ts'
import type { PredictionType, VarianceType } from '../diffusion/process.ts'
import type { ScheduleConfig } from '../diffusion/schedule.ts'
import type { Clamp } from '../planning/plan.ts'
import type { SamplerOptions } from '../planning/samplers.ts'
import { type DdpmSchedulerConfig, type SchedulerConfig, schedulerConfig } from './scheduler-schema.ts'
import '../base/zod.ts'
import * as z from 'zod'

/** A scheduler configuration of diffusers, converted to the options of this package. */
export interface SchedulerSettings {
  readonly schedule: ScheduleConfig
  readonly predictionType: PredictionType
  readonly clamp: Clamp
  readonly varianceType: VarianceType
  /** The sampler that corresponds to the configuration's class, and its options without the number of steps. */
  readonly sampling: Pick<SamplerOptions, 'sampler' | 'spacing'> & Partial<SamplerOptions>
}

/**
 * Parses a `scheduler_config.json` as diffusers writes it.
 * @param source path or URL, for error messages
 * @throws UserError that lists every option that is not implemented, and what was expected
 */
export function parseSchedulerConfig(text: string, source: string): SchedulerConfig {
  let json: unknown
  try {
    json = JSON.parse(text.replace(/(:\s*)(-?Infinity)\b/g, '$1"$2"'))
  } catch (error) {
    throw new UserError(
      `Invalid scheduler configuration ${source}: expected JSON (${(error as Error).message}).`,
    )
  }
  const result = schedulerConfig.safeParse(json)
  if (result.success) return result.data
  throw new UserError(`Unsupported scheduler configuration ${source}:\n${z.prettifyError(result.error)}`)
}

/**
 * Converts a scheduler configuration of diffusers to schedule, prediction type, clamping and sampler options.
 *
 * Sampling differs from diffusers in two places. A DDIM step always leads to the next level of the plan, even if the number
 * of steps does not divide T or the spacing is `linspace`. DDPM adds no noise in the last step.
 */
export function fromSchedulerConfig(config: SchedulerConfig): SchedulerSettings {
  return {
    schedule: {
      betaSchedule: schedulesByName[config.beta_schedule],
      timesteps: config.num_train_timesteps,
      betaStart: config.beta_start,
      betaEnd: config.beta_end,
      ...(config.trained_betas && { betas: config.trained_betas }),
      ...('rescale_betas_zero_snr' in config && config.rescale_betas_zero_snr && { zeroTerminalSnr: true }),
    },
    predictionType: predictionTypesByName[config.prediction_type],
    clamp: toClamp(config),
    varianceType:
      'variance_type' in config && config.variance_type
        ? varianceTypesByName[config.variance_type]
        : 'fixedSmall',
    sampling: { ...toSampling(config), offset: config.steps_offset },
  }
}

/** Returns the scheduler configuration of a trained model, with every field of diffusers' DDPMScheduler. */
export function toSchedulerConfig(
  schedule: ScheduleConfig,
  predictionType: PredictionType,
  varianceType: VarianceType = 'fixedSmall',
): DdpmSchedulerConfig {
  return {
    _class_name: 'DDPMScheduler',
    _diffusers_version: '0.35.0',
    num_train_timesteps: schedule.timesteps,
    beta_start: schedule.betaStart,
    beta_end: schedule.betaEnd,
    beta_schedule: scheduleNames[schedule.betaSchedule],
    trained_betas: schedule.betas ? [...schedule.betas] : null,
    variance_type: varianceNames[varianceType],
    clip_sample: true,
    clip_sample_range: 1,
    prediction_type: predictionNames[predictionType],
    thresholding: false,
    dynamic_thresholding_ratio: 0.995,
    sample_max_value: 1,
    timestep_spacing: 'trailing',
    steps_offset: 0,
    rescale_betas_zero_snr: schedule.zeroTerminalSnr ?? false,
  }
}

// Names of the same values in diffusers and here.
const schedulesByName = { linear: 'linear', squaredcos_cap_v2: 'cosine', sigmoid: 'sigmoid' } as const
const scheduleNames = { linear: 'linear', cosine: 'squaredcos_cap_v2', sigmoid: 'sigmoid' } as const
const predictionTypesByName = { epsilon: 'epsilon', sample: 'x0', v_prediction: 'v' } as const
const predictionNames = { epsilon: 'epsilon', x0: 'sample', v: 'v_prediction' } as const
const varianceTypesByName = {
  fixed_small: 'fixedSmall',
  fixed_small_log: 'fixedSmall',
  fixed_large: 'fixedLarge',
  learned_range: 'learnedRange',
} as const
const varianceNames = {
  fixedSmall: 'fixed_small',
  fixedLarge: 'fixed_large',
  learnedRange: 'learned_range',
} as const

function toClamp(config: SchedulerConfig): Clamp {
  if ('thresholding' in config && config.thresholding) {
    return { ratio: config.dynamic_thresholding_ratio, max: config.sample_max_value }
  }
  return 'clip_sample' in config && config.clip_sample ? config.clip_sample_range : null
}

function toSampling(config: SchedulerConfig): SchedulerSettings['sampling'] {
  switch (config._class_name) {
    case 'DDPMScheduler':
      return { sampler: 'ddpm', spacing: config.timestep_spacing }
    case 'DDIMScheduler':
      return {
        sampler: 'ddim',
        spacing: config.timestep_spacing,
        // The default of diffusers' pipelines.
        eta: 0,
        epsilon: 'raw',
        end: config.set_alpha_to_one ? 'clean' : 'first',
      }
    case 'DPMSolverMultistepScheduler':
      return {
        sampler: config.algorithm_type === 'dpmsolver++' ? 'dpmpp' : 'sde-dpmpp',
        ...toSpacing(config, config.use_lu_lambdas),
        order: config.solver_order,
        solver: config.solver_type,
        curvature: 'half',
        lowerOrderFinal: config.lower_order_final,
        eulerAtFinal: config.euler_at_final,
        end: toEnd(config),
        ...(config.lambda_min_clipped !== '-Infinity' && { lambdaMin: config.lambda_min_clipped }),
      }
    case 'UniPCMultistepScheduler':
      return {
        sampler: 'unipc',
        ...toSpacing(config),
        order: config.solver_order,
        variant: config.solver_type,
        lowerOrderFinal: config.lower_order_final,
        uncorrected: config.disable_corrector,
        end: toEnd(config),
      }
    case 'EulerDiscreteScheduler':
      return { sampler: 'euler', ...toSpacing(config), within: config.timestep_spacing, end: toEnd(config) }
    case 'HeunDiscreteScheduler':
      return { sampler: 'heun', ...toSpacing(config), within: config.timestep_spacing }
  }
}

function toEnd({ final_sigmas_type }: { final_sigmas_type: 'zero' | 'sigma_min' }): 'clean' | 'first' {
  return final_sigmas_type === 'zero' ? 'clean' : 'first'
}

interface SpacingConfig {
  readonly use_karras_sigmas: boolean | null
  readonly use_exponential_sigmas: boolean | null
  readonly timestep_spacing: 'leading' | 'trailing' | 'linspace'
}

function toSpacing(
  config: SpacingConfig,
  uniformLambdas: boolean | null = false,
): Pick<SamplerOptions, 'spacing'> {
  if (config.use_karras_sigmas) return { spacing: 'karras' }
  return { spacing: uniformLambdas || config.use_exponential_sigmas ? 'lambda' : config.timestep_spacing }
}
