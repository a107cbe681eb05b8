import { UserError } from '../base/errors.ts'
import type { Schedule } from '../diffusion/schedule.ts'

/** A noise level: x = √ᾱ·x_0 + √(1−ᾱ)·ε, and the timestep at which a network is asked there. */
export interface Level {
  /** May lie between two timesteps; of the clean end, −1. */
  readonly t: number
  readonly alphaBar: number
}

/** λ = log(√ᾱ/√(1−ᾱ)), half the log of the signal-to-noise ratio (DPM-Solver, eq. 2.7): −∞ … ∞. */
export function lambdaOf(alphaBar: number): number {
  return 0.5 * (Math.log(alphaBar) - Math.log1p(-alphaBar))
}

/** σ = √(1/ᾱ − 1), the noise beside a picture of scale 1 (EDM's σ). */
export function sigmaOf(alphaBar: number): number {
  return Math.sqrt(1 / alphaBar - 1)
}

export const timestepSpacings = ['leading', 'trailing', 'linspace', 'quadratic', 'lambda', 'karras'] as const
export type TimestepSpacing = (typeof timestepSpacings)[number]

export interface SpacingOptions {
  /** Number of levels before the end, 1 … T. */
  readonly steps: number
  readonly spacing: TimestepSpacing
  /** Between which timesteps `lambda` and `karras` are laid: the whole table unless another spacing is named here. */
  readonly within?: 'leading' | 'trailing' | 'linspace'
  /** `leading` and `linspace` lay one level more and leave out the last, as diffusers' multistep solvers do. */
  readonly open?: boolean
  /** Timesteps are whole numbers; otherwise `linspace`, `lambda` and `karras` may lie between. */
  readonly whole?: boolean
  /** Added to the timesteps of `leading`. */
  readonly offset?: number
  /** Levels noisier than this λ are left out, for schedules that end in almost pure noise. */
  readonly lambdaMin?: number
  /** Where the last step leads: to the clean picture, or to the level of timestep 0. */
  readonly end?: 'clean' | 'first'
}

/** NumPy's rounding, half to even: spacings are published as it rounds them. */
function round(value: number): number {
  const down = Math.floor(value)
  const rest = value - down
  return rest === 0.5 ? down + (down % 2) : Math.round(value)
}

/** `count` numbers from `from` to `to`, both included and exact. */
function linspace(from: number, to: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) =>
    i === 0 ? from : i === count - 1 ? to : from + ((to - from) * i) / (count - 1),
  )
}

/**
 * The timesteps of a spacing, from noisy to clean.
 *
 * For T = 1000 and 10 steps: leading 900, 800 … 0; trailing 999, 899 … 99; linspace 999, 888 … 0; quadratic the
 * squares of evenly spaced numbers up to √(0.8 T) (DDIM appendix D.2), which crowd near 0; where two of them round
 * to the same timestep it is visited once. `open`: leading 900, 810 … 90; linspace 999, 899 … 100.
 * @param length T, or less where noisy levels are left out
 */
function timestepsOf(
  timesteps: number,
  length: number,
  { steps, spacing, open = false, whole = true, offset = 0 }: SpacingOptions,
): number[] {
  const points = open ? steps + 1 : steps
  const dropped = (all: number[]) => (open ? all.slice(0, -1) : all)
  switch (spacing) {
    case 'leading': {
      const stride = Math.floor(length / points)
      return dropped(Array.from({ length: points }, (_, i) => (points - 1 - i) * stride + offset))
    }
    case 'trailing': {
      const stride = timesteps / steps
      const all = Array.from({ length: steps }, (_, i) => round(length - i * stride) - 1)
      return all.filter((t) => t >= 0)
    }
    case 'linspace': {
      const all = linspace(length - 1, 0, points)
      return dropped(whole ? all.map(round) : all)
    }
    case 'quadratic': {
      const roots = steps === 1 ? [0] : linspace(Math.sqrt(0.8 * length), 0, steps)
      return [...new Set(roots.map((root) => Math.floor(root ** 2 + 1e-9)))]
    }
    case 'lambda':
    case 'karras':
      throw new Error(`${spacing} is not a spacing of timesteps`)
  }
}

/** σ_i = (σ_max^{1/ρ} + i/(N−1)·(σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ with ρ = 7: Karras et al. 2022 (EDM), eq. 5. */
function karras(sigmaMax: number, sigmaMin: number, steps: number): number[] {
  const rho = 7
  const roots = linspace(sigmaMax ** (1 / rho), sigmaMin ** (1 / rho), steps)
  return roots.map((root, i) => (i === 0 ? sigmaMax : i === steps - 1 ? sigmaMin : root ** rho))
}

/** Evenly spaced in λ, that is in log σ (DPM-Solver, section 3.4). */
function uniformLambda(sigmaMax: number, sigmaMin: number, steps: number): number[] {
  const logs = linspace(Math.log(sigmaMax), Math.log(sigmaMin), steps)
  return logs.map((log, i) => (i === 0 ? sigmaMax : i === steps - 1 ? sigmaMin : Math.exp(log)))
}

/** σ_t at any t in 0 … T−1, linear between timesteps. */
function sigmaAt({ alphasCumprod }: Schedule, t: number): number {
  const low = sigmaOf(alphasCumprod[Math.floor(t)]!)
  const rest = t - Math.floor(t)
  return rest === 0 ? low : low + rest * (sigmaOf(alphasCumprod[Math.ceil(t)]!) - low)
}

/** The t at which log σ_t, linear between timesteps, is log σ. */
function timestepOfSigma(table: Float64Array, sigma: number): number {
  const above = table.findIndex((value) => value > sigma)
  if (above === 0) return 0
  if (above < 0) return table.length - 1
  const [low, high] = [Math.log(table[above - 1]!), Math.log(table[above]!)]
  return above - 1 + (Math.log(sigma) - low) / (high - low)
}

/** Levels that are laid in σ or log σ from one timestep's to another's. */
function levelsInSigma(
  schedule: Schedule,
  { spacing, steps, whole = true }: SpacingOptions,
  from: number,
  to: number,
): Level[] {
  const [sigmaMax, sigmaMin] = [sigmaAt(schedule, from), sigmaAt(schedule, to)]
  if (sigmaMax === Number.POSITIVE_INFINITY) {
    throw new UserError(
      `The spacing ${spacing} is laid in log σ, which a schedule of zero terminal SNR does not bound. Use trailing.`,
    )
  }
  const table = schedule.alphasCumprod.map(sigmaOf)
  const lay = spacing === 'karras' ? karras : uniformLambda
  return lay(sigmaMax, sigmaMin, steps).map((sigma) => {
    const t = timestepOfSigma(table, sigma)
    const alphaBar = Number.isInteger(t) ? schedule.alphasCumprod[t]! : 1 / (1 + sigma ** 2)
    return { t: whole ? round(t) : t, alphaBar }
  })
}

/**
 * The noise levels of a sampler: one per step, and the end.
 * @throws UserError where steps is not in 1 … T, or the spacing asks for timesteps beyond the schedule
 */
export function levelsOf(schedule: Schedule, options: SpacingOptions): Level[] {
  const { timesteps, alphasCumprod } = schedule
  const { steps, spacing, within, open = false, lambdaMin, end = 'clean' } = options
  if (!Number.isInteger(steps) || steps < 1 || steps > timesteps) {
    throw new UserError(
      `Found ${steps} steps; expected a whole number from 1 to ${timesteps}, the schedule's length.`,
    )
  }
  const length =
    lambdaMin === undefined
      ? timesteps
      : alphasCumprod.filter((alphaBar) => lambdaOf(alphaBar) >= lambdaMin).length
  const last: Level = end === 'clean' ? { t: -1, alphaBar: 1 } : { t: 0, alphaBar: alphasCumprod[0]! }
  if (spacing === 'lambda' || spacing === 'karras') {
    const ends = within ? timestepsOf(timesteps, length, { ...options, spacing: within }) : [timesteps - 1, 0]
    return [...levelsInSigma(schedule, options, ends[0]!, ends.at(-1)!), last]
  }
  const visited = timestepsOf(timesteps, length, options)
  if (
    visited.length === 0 ||
    visited[0]! > timesteps - 1 ||
    (open && new Set(visited).size < visited.length)
  ) {
    throw new UserError(
      `${steps} steps of the spacing ${spacing}${options.offset ? ` with offset ${options.offset}` : ''} do not fit ` +
        `into the ${length} timesteps of the schedule. Use fewer steps or another spacing.`,
    )
  }
  const level = (t: number): Level => {
    if (Number.isInteger(t)) return { t, alphaBar: alphasCumprod[t]! }
    return { t, alphaBar: 1 / (1 + sigmaAt(schedule, t) ** 2) }
  }
  return [...visited.map(level), last]
}
