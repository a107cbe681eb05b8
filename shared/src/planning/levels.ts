import { UserError } from '../base/errors.ts'
import type { Schedule } from '../diffusion/schedule.ts'

/** A noise level, x = √ᾱ·x_0 + √(1−ᾱ)·ε. */
export interface Level {
  /** Timestep at which the model is evaluated; may be fractional. −1 for the clean end. */
  readonly t: number
  readonly alphaBar: number
}

export const timestepSpacings = ['leading', 'trailing', 'linspace', 'quadratic', 'lambda', 'karras'] as const
export type TimestepSpacing = (typeof timestepSpacings)[number]

export interface SpacingOptions {
  /** Number of levels without the end, from 1 to T. */
  readonly steps: number
  readonly spacing: TimestepSpacing
  /** Spacing whose first and last timestep limit the levels of `lambda` and `karras`. Default: the whole schedule. */
  readonly within?: 'leading' | 'trailing' | 'linspace'
  /**
   * `leading` and `linspace` compute one more level and drop the last, as diffusers' multistep solvers do. Default:
   * false.
   */
  readonly open?: boolean
  /**
   * Rounds timesteps to whole numbers. If false, those of `linspace`, `lambda` and `karras` may be fractional. Default:
   * true.
   */
  readonly whole?: boolean
  /** Offset added to the timesteps of `leading`. Default: 0. */
  readonly offset?: number
  /** Minimum λ: noisier levels are skipped, for schedules that end in almost pure noise. */
  readonly lambdaMin?: number
  /** Where the last step ends: the clean image, or the level of timestep 0. Default: 'clean'. */
  readonly end?: 'clean' | 'first'
}

/**
 * Returns the noise levels of a sampler from noisy to clean: one per step, and the end.
 * @throws UserError if steps is not from 1 to T, or the spacing does not fit into the schedule
 */
export function computeLevels(schedule: Schedule, options: SpacingOptions): Level[] {
  const { timesteps, alphasCumprod } = schedule
  const { steps, spacing, within, open = false, lambdaMin, end = 'clean' } = options
  if (!Number.isInteger(steps) || steps < 1 || steps > timesteps) {
    throw new UserError(
      `Invalid steps: expected a whole number from 1 to ${timesteps}, the length of the schedule, got ${steps}.`,
    )
  }
  const length =
    lambdaMin === undefined
      ? timesteps
      : alphasCumprod.filter((alphaBar) => lambdaOf(alphaBar) >= lambdaMin).length
  const endLevel: Level = end === 'clean' ? { t: -1, alphaBar: 1 } : { t: 0, alphaBar: alphasCumprod[0]! }
  if (spacing === 'lambda' || spacing === 'karras') {
    const ends = within ? timestepsOf(timesteps, length, { ...options, spacing: within }) : [timesteps - 1, 0]
    return [...levelsInSigma(schedule, options, ends[0]!, ends.at(-1)!), endLevel]
  }
  const visited = timestepsOf(timesteps, length, options)
  if (
    visited.length === 0 ||
    visited[0]! > timesteps - 1 ||
    (open && new Set(visited).size < visited.length)
  ) {
    throw new UserError(
      `Invalid steps: ${steps} steps with spacing ${spacing}${options.offset ? ` and offset ${options.offset}` : ''} ` +
        `do not fit into the ${length} timesteps of the schedule. Use fewer steps or another spacing.`,
    )
  }
  const levelAt = (t: number): Level => {
    if (Number.isInteger(t)) return { t, alphaBar: alphasCumprod[t]! }
    return { t, alphaBar: 1 / (1 + sigmaAt(schedule, t) ** 2) }
  }
  return [...visited.map(levelAt), endLevel]
}

/** Returns λ = log(√ᾱ/√(1−ᾱ)), half the log of the signal-to-noise ratio (DPM-Solver, eq. 2.7), from −∞ to ∞. */
export function lambdaOf(alphaBar: number): number {
  return 0.5 * (Math.log(alphaBar) - Math.log1p(-alphaBar))
}

/** Returns σ = √(1/ᾱ − 1), the noise level relative to an image of scale 1 (σ in EDM). */
export function sigmaOf(alphaBar: number): number {
  return Math.sqrt(1 / alphaBar - 1)
}

/**
 * Returns the timesteps of a spacing, from noisy to clean.
 *
 * For T = 1000 and 10 steps:
 * - leading: 900, 800 … 0; with `open` 900, 810 … 90
 * - trailing: 999, 899 … 99
 * - linspace: 999, 888 … 0; with `open` 999, 899 … 100
 * - quadratic: the squares of evenly spaced numbers up to √(0.8 T) (DDIM appendix D.2), denser near 0. Timesteps that
 *   are rounded to the same number are used once.
 * @param length T, or less if noisy levels are skipped
 */
function timestepsOf(
  timesteps: number,
  length: number,
  { steps, spacing, open = false, whole = true, offset = 0 }: SpacingOptions,
): number[] {
  const points = open ? steps + 1 : steps
  const dropLast = (all: number[]) => (open ? all.slice(0, -1) : all)
  switch (spacing) {
    case 'leading': {
      const stride = Math.floor(length / points)
      return dropLast(Array.from({ length: points }, (_, i) => (points - 1 - i) * stride + offset))
    }
    case 'trailing': {
      const stride = timesteps / steps
      const all = Array.from({ length: steps }, (_, i) => round(length - i * stride) - 1)
      return all.filter((t) => t >= 0)
    }
    case 'linspace': {
      const all = linspace(length - 1, 0, points)
      return dropLast(whole ? all.map(round) : all)
    }
    case 'quadratic': {
      const roots = steps === 1 ? [0] : linspace(Math.sqrt(0.8 * length), 0, steps)
      return [...new Set(roots.map((root) => Math.floor(root ** 2 + 1e-9)))]
    }
    case 'lambda':
    case 'karras':
      throw new Error(`Invalid spacing: ${spacing} is not defined by timesteps.`)
  }
}

/** Returns levels that are spaced in σ or log σ, from the σ of one timestep to that of another. */
function levelsInSigma(
  schedule: Schedule,
  { spacing, steps, whole = true }: SpacingOptions,
  from: number,
  to: number,
): Level[] {
  const [sigmaMax, sigmaMin] = [sigmaAt(schedule, from), sigmaAt(schedule, to)]
  if (sigmaMax === Number.POSITIVE_INFINITY) {
    throw new UserError(
      `Invalid spacing: ${spacing} needs a finite σ, but a schedule with zero terminal SNR ends at infinite σ. Use trailing.`,
    )
  }
  const table = schedule.alphasCumprod.map(sigmaOf)
  const spacedSigmas = spacing === 'karras' ? karras : uniformLambda
  return spacedSigmas(sigmaMax, sigmaMin, steps).map((sigma) => {
    const t = timestepOfSigma(table, sigma)
    const alphaBar = Number.isInteger(t) ? schedule.alphasCumprod[t]! : 1 / (1 + sigma ** 2)
    return { t: whole ? round(t) : t, alphaBar }
  })
}

/** Returns σ_i = (σ_max^{1/ρ} + i/(N−1)·(σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ with ρ = 7: Karras et al. 2022 (EDM), eq. 5. */
function karras(sigmaMax: number, sigmaMin: number, steps: number): number[] {
  const rho = 7
  const roots = linspace(sigmaMax ** (1 / rho), sigmaMin ** (1 / rho), steps)
  return roots.map((root, i) => (i === 0 ? sigmaMax : i === steps - 1 ? sigmaMin : root ** rho))
}

/** Returns σ values that are evenly spaced in λ, which means in log σ (DPM-Solver, section 3.4). */
function uniformLambda(sigmaMax: number, sigmaMin: number, steps: number): number[] {
  const logs = linspace(Math.log(sigmaMax), Math.log(sigmaMin), steps)
  return logs.map((log, i) => (i === 0 ? sigmaMax : i === steps - 1 ? sigmaMin : Math.exp(log)))
}

/** Returns σ_t for any real t from 0 to T−1, interpolated linearly between timesteps. */
function sigmaAt({ alphasCumprod }: Schedule, t: number): number {
  const low = sigmaOf(alphasCumprod[Math.floor(t)]!)
  const fraction = t - Math.floor(t)
  return fraction === 0 ? low : low + fraction * (sigmaOf(alphasCumprod[Math.ceil(t)]!) - low)
}

/** Returns the t at which log σ_t, interpolated linearly between timesteps, equals log σ. */
function timestepOfSigma(table: Float64Array, sigma: number): number {
  const above = table.findIndex((value) => value > sigma)
  if (above === 0) return 0
  if (above < 0) return table.length - 1
  const [low, high] = [Math.log(table[above - 1]!), Math.log(table[above]!)]
  return above - 1 + (Math.log(sigma) - low) / (high - low)
}

/** Returns `count` evenly spaced numbers from `from` to `to`, both included and exact. */
function linspace(from: number, to: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) =>
    i === 0 ? from : i === count - 1 ? to : from + ((to - from) * i) / (count - 1),
  )
}

/** Rounds halves to the even number, as NumPy does. The published spacings are rounded this way. */
function round(value: number): number {
  const floor = Math.floor(value)
  return value - floor === 0.5 ? floor + (floor % 2) : Math.round(value)
}
