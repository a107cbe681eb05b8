import '../base/zod.ts'
import * as z from 'zod'

/**
 * Returns the schema of a diffusers option for which only one value is implemented. Other values are rejected with the
 * option's name.
 */
function only<const V extends string | boolean | number | null>(value: V) {
  const error = `not implemented: expected ${JSON.stringify(value)}`
  return z.literal(value, { error }).default(value as never)
}

// Options that several schedulers share.

const schedule = {
  _diffusers_version: z.string().default('0.35.0'),
  /** Names of the options for which diffusers used its default. Does not affect sampling. */
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

// The schedulers.

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
  /** Python writes −Infinity, which is not JSON. `parseSchedulerConfig` converts it to a string. */
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
 * Schema of diffusers' `scheduler_config.json`. Missing options get the defaults of diffusers. Options and values that
 * are not implemented here are rejected with their name.
 */
export const schedulerConfig = z.discriminatedUnion('_class_name', classes, {
  error: ({ code }) =>
    code === 'invalid_union'
      ? `expected one of ${classes.map(({ shape }) => shape._class_name.value).join(', ')}`
      : undefined,
})
export type SchedulerConfig = z.infer<typeof schedulerConfig>
export type DdpmSchedulerConfig = z.infer<typeof ddpm>
