import { UserError } from '../base/errors.ts'
import { qPosterior } from './process.ts'

export const betaSchedules = ['linear', 'cosine', 'sigmoid'] as const
export type BetaSchedule = (typeof betaSchedules)[number]

/** Parameters of a noise schedule. */
export interface ScheduleConfig {
  readonly betaSchedule: BetaSchedule
  /** Number of noising steps, T. */
  readonly timesteps: number
  /** β of the first and of the last step. Not used by the cosine schedule. */
  readonly betaStart: number
  readonly betaEnd: number
  /** Explicit β_t, [timesteps]. Overrides betaSchedule, betaStart and betaEnd. */
  readonly betas?: readonly number[]
  /** Shifts and scales √ᾱ so that ᾱ_{T−1} = 0, pure noise (Lin et al. 2023, algorithm 1). Default: false. */
  readonly zeroTerminalSnr?: boolean
}

/** The schedule of DDPM, section 4: T = 1000, β linear from 1e-4 to 0.02. */
export const paperSchedule: ScheduleConfig = {
  betaSchedule: 'linear',
  timesteps: 1000,
  betaStart: 1e-4,
  betaEnd: 0.02,
}

/** Tables of the forward process and its posterior: [T] each, float64. Index 0 is the first noising step. */
export interface Schedule {
  readonly config: ScheduleConfig
  readonly timesteps: number

  /** β_t, the variance of q(x_t | x_{t−1}). */
  readonly betas: Float64Array
  /** α_t = 1 − β_t. */
  readonly alphas: Float64Array
  /** ᾱ_t = Π_{s≤t} α_s, so that q(x_t | x_0) = N(√ᾱ_t x_0, (1 − ᾱ_t) I), DDPM eq. 4. */
  readonly alphasCumprod: Float64Array
  /** ᾱ_{t−1}, with ᾱ_{−1} = 1. */
  readonly alphasCumprodPrev: Float64Array

  /** β̃_t, the variance of q(x_{t−1} | x_t, x_0), DDPM eq. 7. */
  readonly posteriorVariance: Float64Array
  /** log β̃_t. Entry 0 is a copy of entry 1, because β̃_0 = 0. */
  readonly posteriorLogVarianceClipped: Float64Array
  /** Weights of x_0 and of x_t in the mean of q(x_{t−1} | x_t, x_0), DDPM eq. 7. */
  readonly posteriorMeanCoef1: Float64Array
  readonly posteriorMeanCoef2: Float64Array
}

/**
 * Computes the tables of a schedule.
 * @throws UserError if T is not a positive integer (for zero terminal SNR, at least 2), a β is outside (0, 1), or the number
 *   of explicit β is not T
 */
export function createSchedule(config: ScheduleConfig): Schedule {
  const { timesteps } = config
  const base = baseBetas(config)
  const betas = config.zeroTerminalSnr ? rescaleToZeroTerminalSnr(base) : base
  const alphas = betas.map((beta) => 1 - beta)
  let product = 1
  const alphasCumprod = alphas.map((alpha) => (product *= alpha))
  const alphasCumprodPrev = alphasCumprod.map((_, t) => (t === 0 ? 1 : alphasCumprod[t - 1]!))

  const posteriors = Array.from(betas, (beta, t) =>
    qPosterior({ alpha: alphas[t]!, beta, alphaBar: alphasCumprod[t]!, alphaBarPrev: alphasCumprodPrev[t]! }),
  )
  const posteriorVariance = Float64Array.from(posteriors, ({ variance }) => variance)
  return {
    config,
    timesteps,
    betas,
    alphas,
    alphasCumprod,
    alphasCumprodPrev,
    posteriorVariance,
    posteriorLogVarianceClipped: posteriorVariance.map((variance, t) =>
      Math.log(t === 0 ? (posteriorVariance[1] ?? betas[0]!) : variance),
    ),
    posteriorMeanCoef1: Float64Array.from(posteriors, ({ x0Weight }) => x0Weight),
    posteriorMeanCoef2: Float64Array.from(posteriors, ({ xtWeight }) => xtWeight),
  }
}

/** Returns the β of a valid configuration, before any rescaling to zero terminal SNR. */
function baseBetas(config: ScheduleConfig): Float64Array {
  const { timesteps } = config
  if (!Number.isInteger(timesteps) || timesteps < 1) {
    throw new UserError(
      `Invalid timesteps: expected a whole number of at least 1 (usually 1000), got ${timesteps}.`,
    )
  }
  if (config.zeroTerminalSnr && timesteps < 2) {
    throw new UserError('Invalid timesteps: expected at least 2 for zero terminal SNR, got 1.')
  }
  const betas = config.betas ? Float64Array.from(config.betas) : betaFormulas[config.betaSchedule](config)
  if (betas.length !== timesteps) {
    throw new UserError(`Invalid betas: expected ${timesteps} values, one per timestep, got ${betas.length}.`)
  }
  const invalid = betas.findIndex((beta) => !(beta > 0 && beta < 1))
  if (invalid >= 0) {
    throw new UserError(
      `Invalid β at timestep ${invalid}: expected a number strictly between 0 and 1, got ${betas[invalid]}. ` +
        'Check betaStart and betaEnd (DDPM uses 0.0001 and 0.02).',
    )
  }
  return betas
}

const betaFormulas: Record<BetaSchedule, (config: ScheduleConfig) => Float64Array> = {
  linear: ({ timesteps, betaStart, betaEnd }) =>
    Float64Array.from({ length: timesteps }, (_, t) =>
      timesteps === 1 ? betaStart : betaStart + ((betaEnd - betaStart) * t) / (timesteps - 1),
    ),
  // Nichol & Dhariwal 2021, eq. 17: ᾱ(u) = cos²((u + s)/(1 + s) · π/2), s = 0.008, β clipped at 0.999.
  cosine: ({ timesteps }) => {
    const alphaBar = (u: number) => Math.cos((((u + 0.008) / 1.008) * Math.PI) / 2) ** 2
    return Float64Array.from({ length: timesteps }, (_, t) =>
      Math.min(1 - alphaBar((t + 1) / timesteps) / alphaBar(t / timesteps), 0.999),
    )
  },
  // Xu et al. 2022 (GeoDiff), as in diffusers: a sigmoid from −6 to 6, scaled from about betaStart to about betaEnd.
  sigmoid: ({ timesteps, betaStart, betaEnd }) =>
    Float64Array.from({ length: timesteps }, (_, t) => {
      const x = timesteps === 1 ? -6 : -6 + (12 * t) / (timesteps - 1)
      return betaStart + (betaEnd - betaStart) / (1 + Math.exp(-x))
    }),
}

/** Rescales β as in Lin et al. 2023, "Common diffusion noise schedules and sample steps are flawed", algorithm 1. */
function rescaleToZeroTerminalSnr(betas: Float64Array): Float64Array {
  let product = 1
  const roots = betas.map((beta) => Math.sqrt((product *= 1 - beta)))
  const [first, last] = [roots[0]!, roots.at(-1)!]
  const bars = roots.map((root) => (((root - last) * first) / (first - last)) ** 2)
  return bars.map((bar, t) => 1 - (t === 0 ? bar : bar / bars[t - 1]!))
}
