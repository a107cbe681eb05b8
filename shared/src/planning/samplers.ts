import { UserError } from '../base/errors.ts'
import type { Schedule } from '../diffusion/schedule.ts'
import { type DdimOptions, type DdpmOptions, ddim, ddpm } from './ancestral.ts'
import { type DpmSolverOptions, dpmSolver, sdeDpmSolver } from './dpm-solver.ts'
import { type Level, levelsOf, type SpacingOptions } from './levels.ts'
import type { Plan, Row } from './plan.ts'
import { euler, heun } from './probability-flow.ts'
import { type UniPcOptions, unipc } from './unipc.ts'

export const samplers = ['ddpm', 'ddim', 'dpmpp', 'sde-dpmpp', 'unipc', 'euler', 'heun'] as const
export type Sampler = (typeof samplers)[number]

/** Everything that decides a plan; each sampler takes what concerns it. */
export interface SamplerOptions
  extends Omit<SpacingOptions, 'open' | 'whole'>,
    DdpmOptions,
    DdimOptions,
    DpmSolverOptions,
    UniPcOptions {
  readonly sampler: Sampler
}

/** What is sampled with where nothing is said: DDIM, 50 steps, deterministic. */
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

interface Method {
  readonly plan: (levels: readonly Level[], options: SamplerOptions) => Row[]
  /** How its levels are laid, as diffusers lays them for it. */
  readonly spacing?: Pick<SpacingOptions, 'open' | 'whole'>
  /** Works in λ or σ, which end where ᾱ is 0: a schedule of zero terminal SNR starts at ᾱ = 2⁻²⁴, as in diffusers. */
  readonly wantsSignal?: true
  /** Starts from σ_max·z beside a picture of scale 1, not from z: the same but for √(1−ᾱ). */
  readonly startsAtSigma?: true
}

const methods: Record<Sampler, Method> = {
  ddpm: { plan: ddpm },
  ddim: { plan: ddim },
  dpmpp: { plan: dpmSolver, spacing: { open: true }, wantsSignal: true },
  'sde-dpmpp': { plan: sdeDpmSolver, spacing: { open: true }, wantsSignal: true },
  unipc: { plan: unipc, spacing: { open: true }, wantsSignal: true },
  euler: { plan: euler, spacing: { whole: false }, wantsSignal: true, startsAtSigma: true },
  heun: { plan: heun, spacing: { whole: false }, wantsSignal: true, startsAtSigma: true },
}

/**
 * The noise levels that a sampler visits on a schedule, and its end.
 * @throws UserError where steps and spacing do not fit the schedule
 */
export function samplerLevels(schedule: Schedule, options: SamplerOptions): Level[] {
  const { spacing, wantsSignal } = methods[options.sampler]
  const usable =
    wantsSignal && schedule.alphasCumprod.at(-1) === 0
      ? { ...schedule, alphasCumprod: schedule.alphasCumprod.with(-1, 2 ** -24) }
      : schedule
  return levelsOf(usable, { ...options, ...spacing })
}

/**
 * The rows of a sampler between given noise levels, which may lie anywhere.
 * @param levels from noisy to clean, the end included
 * @throws UserError where eta or order is out of range
 */
export function planLevels(levels: readonly Level[], options: SamplerOptions): Plan {
  const { sampler, eta, order } = options
  if (eta !== 'hat' && !(eta >= 0 && eta <= 1)) {
    throw new UserError(
      `Found eta ${eta}; expected a number from 0 (deterministic) to 1 (DDPM's variance), or "hat".`,
    )
  }
  const most = sampler === 'sde-dpmpp' ? 2 : 3
  if (!(Number.isInteger(order) && order >= 1 && order <= most)) {
    throw new UserError(`Found order ${order}; expected a whole number from 1 to ${most} for ${sampler}.`)
  }
  return { name: nameOf(options), start: 1, rows: methods[sampler].plan(levels, options) }
}

/**
 * The rows of a sampler on a schedule.
 * @throws UserError where an option is out of range
 */
export function planSampler(schedule: Schedule, options: SamplerOptions): Plan {
  const levels = samplerLevels(schedule, options)
  const plan = planLevels(levels, options)
  const laid = options.spacing === 'lambda' || options.spacing === 'karras'
  const base = laid ? options.within : options.spacing
  if (!methods[options.sampler].startsAtSigma || base === 'leading') return plan
  return { ...plan, start: Math.sqrt(1 - levels[0]!.alphaBar) }
}

function nameOf({ sampler, eta, order }: SamplerOptions): string {
  if (sampler === 'ddim') return eta === 0 ? 'ddim' : `ddim with η ${eta}`
  const ordered = sampler === 'dpmpp' || sampler === 'sde-dpmpp' || sampler === 'unipc'
  return ordered ? `${sampler} of order ${order}` : sampler
}
