import { createSchedule, type Schedule } from '../diffusion/schedule.ts'
import type { Manifest } from '../manifest/manifest.ts'
import { fromSchedulerConfig } from '../manifest/scheduler-config.ts'
import type { Plan } from '../planning/plan.ts'
import { defaultSampling, planSampler, type SamplerOptions } from '../planning/samplers.ts'

/** The fields of a manifest that sampling needs. */
export type ModelInfo = Pick<Manifest, 'shape' | 'classes' | 'scheduler' | 'sampling'>

/**
 * Runs a forward pass of the model.
 * @param x [count, channels, height, width]
 * @param timestep [count], index of the schedule; fractional values are rounded to the nearest integer
 * @param label [count], class index, or the number of classes for "no class"; null if the model has no classes
 * @returns the shape of x, or twice the channels if the model also predicts variances. The next call must not overwrite
 *   the returned array.
 */
export type Network = (
  x: Float32Array,
  timestep: Float32Array,
  label: Float32Array | null,
) => Float32Array | Promise<Float32Array>

/** Returns a model's schedule and its sampler options; `overrides` take precedence over the manifest. */
export function resolveSampling(
  model: Pick<ModelInfo, 'scheduler' | 'sampling'>,
  overrides: Partial<SamplerOptions> = {},
): { schedule: Schedule; options: SamplerOptions } {
  const { schedule, sampling: schedulerOptions, ...x0Options } = fromSchedulerConfig(model.scheduler)
  const {
    sampler: defaultSampler,
    steps,
    spacing,
    guidance,
    guidanceRescale,
    ...manifestOptions
  } = model.sampling
  const sampler = overrides.sampler ?? defaultSampler
  const options = {
    ...defaultSampling,
    ...x0Options,
    // The options of the scheduler block and of the manifest apply only to their own sampler.
    ...(schedulerOptions.sampler === sampler && schedulerOptions),
    ...(defaultSampler === sampler && manifestOptions),
    sampler,
    steps,
    spacing,
    ...Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined)),
    predictionType: x0Options.predictionType,
  }
  return { schedule: createSchedule(schedule), options }
}

/** Plans a sampler for a model; `overrides` take precedence over the manifest. */
export function planFor(
  model: Pick<ModelInfo, 'scheduler' | 'sampling'>,
  overrides: Partial<SamplerOptions> = {},
): Plan {
  const { schedule, options } = resolveSampling(model, overrides)
  return planSampler(schedule, options)
}
