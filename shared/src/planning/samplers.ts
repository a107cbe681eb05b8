import { UserError } from '../base/errors.ts'
import type { Schedule } from '../diffusion/schedule.ts'
import { type DdimOptions, type DdpmOptions, ddim, ddpm } from './ancestral.ts'
import { type DpmSolverOptions, dpmSolver, sdeDpmSolver } from './dpm-solver.ts'
import { computeLevels, type Level, type SpacingOptions } from './levels.ts'
import type { Plan, Row } from './plan.ts'
import { euler, heun } from './probability-flow.ts'
import { type UniPcOptions, unipc } from './unipc.ts'

export const samplers = ['ddpm', 'ddim', 'dpmpp', 'sde-dpmpp', 'unipc', 'euler', 'heun'] as const
export type Sampler = (typeof samplers)[number]

/** Options of all samplers. Each sampler uses its own subset. */
export interface SamplerOptions
  extends Omit<SpacingOptions, 'open' | 'whole'>,
    DdpmOptions,
    DdimOptions,
    DpmSolverOptions,
    UniPcOptions {
  readonly sampler: Sampler
}

/** Default sampling options: DDIM, 50 steps, deterministic. */
export const defaultSampling = {
  sampler: 'ddim',
  steps: 50,
  spacing: 'trailing',
  varianceType: 'fixedSmall',
  eta: 0,
  epsilon: 'rederived',
  order: 2,
  solver: 'midpoint',
  curvature: 'exact',
  variant: 'bh2',
  lowerOrderFinal: true,
  eulerAtFinal: false,
  uncorrected: [],
} as const satisfies Partial<SamplerOptions>

/**
 * Plans a sampler on a schedule.
 * @throws UserError if an option is out of range
 */
export function planSampler(schedule: Schedule, options: SamplerOptions): Plan {
  const levels = samplerLevels(schedule, options)
  const plan = planLevels(levels, options)
  const spacedInSigma = options.spacing === 'lambda' || options.spacing === 'karras'
  const timestepSpacing = spacedInSigma ? options.within : options.spacing
  if (!methods[options.sampler].startsAtSigma || timestepSpacing === 'leading') return plan
  return { ...plan, start: Math.sqrt(1 - levels[0]!.alphaBar) }
}

/**
 * Returns the noise levels at which a sampler evaluates the model, and the end.
 * @throws UserError if steps and spacing do not fit into the schedule
 */
export function samplerLevels(schedule: Schedule, options: SamplerOptions): Level[] {
  const { spacing, needsSignal } = methods[options.sampler]
  const usable =
    needsSignal && schedule.alphasCumprod.at(-1) === 0
      ? { ...schedule, alphasCumprod: schedule.alphasCumprod.with(-1, 2 ** -24) }
      : schedule
  return computeLevels(usable, { ...options, ...spacing })
}

/**
 * Plans a sampler between arbitrary noise levels.
 * @param levels from noisy to clean, including the end
 * @throws UserError if eta or order is out of range
 */
export function planLevels(levels: readonly Level[], options: SamplerOptions): Plan {
  const { sampler, eta, order } = options
  if (eta !== 'hat' && !(eta >= 0 && eta <= 1)) {
    throw new UserError(
      `Invalid eta: expected a number from 0 (deterministic) to 1 (the variance of DDPM) or "hat", got ${eta}.`,
    )
  }
  const maxOrder = sampler === 'sde-dpmpp' ? 2 : 3
  if (!(Number.isInteger(order) && order >= 1 && order <= maxOrder)) {
    throw new UserError(
      `Invalid order: expected a whole number from 1 to ${maxOrder} for ${sampler}, got ${order}.`,
    )
  }
  return { name: nameOf(options), start: 1, rows: methods[sampler].plan(levels, options) }
}

interface Method {
  readonly plan: (levels: readonly Level[], options: SamplerOptions) => Row[]
  /** Spacing options that diffusers uses for this sampler. */
  readonly spacing?: Pick<SpacingOptions, 'open' | 'whole'>
  /** Needs finite λ and σ, which means ᾱ > 0. With zero terminal SNR it starts at ᾱ = 2⁻²⁴, as in diffusers. */
  readonly needsSignal?: true
  /** Starts from x̂ = x/√ᾱ = σ_max·z, so that the initial x has the standard deviation √(1−ᾱ). */
  readonly startsAtSigma?: true
}

const methods: Record<Sampler, Method> = {
  ddpm: { plan: ddpm },
  ddim: { plan: ddim },
  dpmpp: { plan: dpmSolver, spacing: { open: true }, needsSignal: true },
  'sde-dpmpp': { plan: sdeDpmSolver, spacing: { open: true }, needsSignal: true },
  unipc: { plan: unipc, spacing: { open: true }, needsSignal: true },
  euler: { plan: euler, spacing: { whole: false }, needsSignal: true, startsAtSigma: true },
  heun: { plan: heun, spacing: { whole: false }, needsSignal: true, startsAtSigma: true },
}

function nameOf({ sampler, eta, order }: SamplerOptions): string {
  if (sampler === 'ddim') return eta === 0 ? 'ddim' : `ddim with η ${eta}`
  const hasOrder = sampler === 'dpmpp' || sampler === 'sde-dpmpp' || sampler === 'unipc'
  return hasOrder ? `${sampler} of order ${order}` : sampler
}
