import { epsilonWeights, type PredictionType, x0Weights } from './diffusion.ts'
import { UserError } from './errors.ts'
import type { Schedule } from './schedule.ts'

/**
 * One step of a sampler, as coefficients. With x_0 = clamp(p·x + q·output), a step reads
 *
 *     x ← a·x + b·x_0 + Σ_k c[k]·x_0 of k+1 steps ago + e·output + d·z,   z standard normal
 *
 * Everything a sampler decides is in its rows; one loop (sampling.ts) runs them all.
 */
export interface Row {
  /** The timestep the network is asked at, an index of the schedule. */
  readonly t: number
  readonly p: number
  readonly q: number
  /** x_0 is clamped to [−clamp, clamp]; null leaves it. */
  readonly clamp: number | null
  readonly a: number
  readonly b: number
  readonly c: readonly number[]
  readonly d: number
  readonly e: number
}

/** A sampler applied to a schedule: pure arithmetic, ready to be run or printed. */
export interface Plan {
  readonly sampler: Sampler
  readonly rows: readonly Row[]
}

export const samplers = ['ddpm', 'ddim'] as const
export type Sampler = (typeof samplers)[number]

export const timestepSpacings = ['leading', 'trailing', 'linspace', 'quadratic'] as const
export type TimestepSpacing = (typeof timestepSpacings)[number]

export interface SamplerOptions {
  readonly sampler: Sampler
  /** Number of network evaluations, 1 … T. */
  readonly steps: number
  readonly spacing: TimestepSpacing
  /** What the network was trained to predict. */
  readonly predictionType: PredictionType
  /** Bound of x_0 in every step, 1 as in the published code; null samples unclamped. */
  readonly clamp: number | null
  /** DDPM: σ² is the posterior's β̃ ('fixedSmall') or β ('fixedLarge'), DDPM section 3.2. */
  readonly varianceType: 'fixedSmall' | 'fixedLarge'
  /** DDIM: 0 is deterministic, 1 has DDPM's variance (DDIM eq. 16). */
  readonly eta: number
  /**
   * DDIM: where ε comes from once x_0 has been clamped: 'rederived' from the clamped x_0 (as in guided-diffusion),
   * or 'raw', the network's own (as in diffusers' default). They agree where no clamp bites.
   */
  readonly epsilon: 'rederived' | 'raw'
}

/** What is sampled with where nothing is said: DDIM, 50 steps, deterministic. */
export const defaultSampling = {
  sampler: 'ddim',
  steps: 50,
  spacing: 'trailing',
  varianceType: 'fixedSmall',
  eta: 0,
  epsilon: 'rederived',
} as const satisfies Partial<SamplerOptions>

/**
 * The timesteps a sampler visits, from noisy to clean.
 *
 * For T = 1000 and 10 steps: leading 900, 800 … 0; trailing 999, 899 … 99; linspace 999, 888 … 0; quadratic the
 * squares of evenly spaced numbers up to √(0.8 T) (DDIM appendix D.2), which crowd near 0; where two of them round
 * to the same timestep it is visited once.
 * @throws UserError where steps is not in 1 … T
 */
export function timestepsOf(timesteps: number, steps: number, spacing: TimestepSpacing): number[] {
  if (!Number.isInteger(steps) || steps < 1 || steps > timesteps) {
    throw new UserError(
      `Found ${steps} steps; expected a whole number from 1 to ${timesteps}, the schedule's length.`,
    )
  }
  const ascending = Array.from({ length: steps }, (_, i) => {
    switch (spacing) {
      case 'leading':
        return i * Math.floor(timesteps / steps)
      case 'trailing':
        return Math.round(((i + 1) * timesteps) / steps) - 1
      case 'linspace':
        return steps === 1 ? timesteps - 1 : Math.round((i * (timesteps - 1)) / (steps - 1))
      case 'quadratic':
        return steps === 1 ? 0 : Math.floor(((i / (steps - 1)) * Math.sqrt(0.8 * timesteps)) ** 2)
    }
  })
  return [...new Set(ascending)].reverse()
}

/** The noise levels on both sides of one step; ᾱ_prev is 1 after the last. */
interface Interval {
  readonly alphaBar: number
  readonly alphaBarPrev: number
  readonly last: boolean
}

type Step = Pick<Row, 'a' | 'b' | 'c' | 'd' | 'e'>

const stepOf: Record<Sampler, (interval: Interval, options: SamplerOptions) => Step> = {
  /**
   * Ancestral sampling, DDPM algorithm 2 through x_0: the posterior mean of eq. 7 and σ·z, no noise in the last step.
   * On a subset of the timesteps β is that of the retained chain, 1 − ᾱ/ᾱ_prev (Improved DDPM, section 4).
   */
  ddpm({ alphaBar, alphaBarPrev, last }, { varianceType }) {
    const alpha = alphaBar / alphaBarPrev
    const beta = 1 - alpha
    const posteriorVariance = (beta * (1 - alphaBarPrev)) / (1 - alphaBar)
    return {
      a: ((1 - alphaBarPrev) * Math.sqrt(alpha)) / (1 - alphaBar),
      b: (beta * Math.sqrt(alphaBarPrev)) / (1 - alphaBar),
      c: [],
      d: last ? 0 : Math.sqrt(varianceType === 'fixedSmall' ? posteriorVariance : beta),
      e: 0,
    }
  },

  /** DDIM eq. 12 and 16: √ᾱ_prev·x_0 + √(1−ᾱ_prev−σ²)·ε + σ·z. */
  ddim({ alphaBar, alphaBarPrev }, { eta, epsilon, predictionType }) {
    const sigma =
      eta * Math.sqrt((1 - alphaBarPrev) / (1 - alphaBar)) * Math.sqrt(1 - alphaBar / alphaBarPrev)
    const direction = Math.sqrt(Math.max(1 - alphaBarPrev - sigma ** 2, 0))
    if (epsilon === 'raw') {
      const [r, s] = epsilonWeights(predictionType, alphaBar)
      return { a: direction * r, b: Math.sqrt(alphaBarPrev), c: [], d: sigma, e: direction * s }
    }
    // ε = (x − √ᾱ·x_0)/√(1−ᾱ)
    const share = direction / Math.sqrt(1 - alphaBar)
    return { a: share, b: Math.sqrt(alphaBarPrev) - share * Math.sqrt(alphaBar), c: [], d: sigma, e: 0 }
  },
}

/**
 * The rows of a sampler on a schedule.
 * @throws UserError where steps or eta is out of range
 */
export function planSampler(schedule: Schedule, options: SamplerOptions): Plan {
  if (!(options.eta >= 0 && options.eta <= 1)) {
    throw new UserError(
      `Found eta ${options.eta}; expected a number from 0 (deterministic) to 1 (DDPM's variance).`,
    )
  }
  const visited = timestepsOf(schedule.timesteps, options.steps, options.spacing)
  const rows = visited.map((t, i): Row => {
    const next = visited[i + 1]
    const alphaBar = schedule.alphasCumprod[t]!
    const alphaBarPrev = next === undefined ? 1 : schedule.alphasCumprod[next]!
    const [p, q] = x0Weights(options.predictionType, alphaBar)
    const step = stepOf[options.sampler]({ alphaBar, alphaBarPrev, last: next === undefined }, options)
    return { t, p, q, clamp: options.clamp, ...step }
  })
  return { sampler: options.sampler, rows }
}

/** A plan as a table that a person can read, one line per step. */
export function formatPlan(plan: Plan): string {
  const history = Math.max(0, ...plan.rows.map((row) => row.c.length))
  const names = [
    't',
    'p',
    'q',
    'clamp',
    'a',
    'b',
    ...Array.from({ length: history }, (_, k) => `c${k + 1}`),
    'd',
    'e',
  ]
  const number = (value: number) => value.toFixed(8)
  const lines = plan.rows.map((row) => [
    String(row.t),
    number(row.p),
    number(row.q),
    row.clamp === null ? 'none' : String(row.clamp),
    number(row.a),
    number(row.b),
    ...Array.from({ length: history }, (_, k) => number(row.c[k] ?? 0)),
    number(row.d),
    number(row.e),
  ])
  const widths = names.map((name, column) =>
    Math.max(name.length, ...lines.map((line) => line[column]!.length)),
  )
  const table = [names, ...lines].map((line) => line.map((cell, i) => cell.padStart(widths[i]!)).join('  '))
  return [
    `${plan.sampler}, ${plan.rows.length} steps: x ← a·x + b·x0 + Σ c·x0₋ + e·output + d·z`,
    ...table,
  ].join('\n')
}
