import { UserError } from '../base/errors.ts'

export const betaSchedules = ['linear', 'cosine', 'sigmoid'] as const
export type BetaSchedule = (typeof betaSchedules)[number]

/** What determines a noise schedule. */
export interface ScheduleConfig {
  readonly betaSchedule: BetaSchedule
  /** T, the number of noising steps. */
  readonly timesteps: number
  /** β of the first and the last step; the cosine schedule does not use them. */
  readonly betaStart: number
  readonly betaEnd: number
  /** β_t written out, [timesteps]: goes before betaSchedule, betaStart and betaEnd. */
  readonly betas?: readonly number[]
  /** Shifts and scales √ᾱ so that ᾱ_{T−1} is 0, pure noise: Lin et al. 2023, algorithm 1. */
  readonly zeroTerminalSnr?: boolean
}

/** The schedule of the paper (section 4): T = 1000, β from 1e-4 to 0.02. */
export const paperSchedule: ScheduleConfig = {
  betaSchedule: 'linear',
  timesteps: 1000,
  betaStart: 1e-4,
  betaEnd: 0.02,
}

/** The tables of q and of its posterior: [T] each, float64; index 0 is the first noising step. */
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
  /** log β̃_t; β̃_0 is 0, so entry 0 takes entry 1's. */
  readonly posteriorLogVarianceClipped: Float64Array
  /** The weights of x_0 and of x_t in the mean of q(x_{t−1} | x_t, x_0), DDPM eq. 7. */
  readonly posteriorMeanCoef1: Float64Array
  readonly posteriorMeanCoef2: Float64Array
}

const betasOf: Record<BetaSchedule, (config: ScheduleConfig) => Float64Array> = {
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
  // Xu et al. 2022 (GeoDiff), as diffusers has it: a sigmoid over −6 … 6, from about the first β to about the last.
  sigmoid: ({ timesteps, betaStart, betaEnd }) =>
    Float64Array.from({ length: timesteps }, (_, t) => {
      const x = timesteps === 1 ? -6 : -6 + (12 * t) / (timesteps - 1)
      return betaStart + (betaEnd - betaStart) / (1 + Math.exp(-x))
    }),
}

/** Lin et al. 2023, "Common diffusion noise schedules and sample steps are flawed", algorithm 1. */
function zeroTerminalSnr(betas: Float64Array): Float64Array {
  let product = 1
  const roots = betas.map((beta) => Math.sqrt((product *= 1 - beta)))
  const [first, last] = [roots[0]!, roots.at(-1)!]
  const bars = roots.map((root) => (((root - last) * first) / (first - last)) ** 2)
  return bars.map((bar, t) => 1 - (t === 0 ? bar : bar / bars[t - 1]!))
}

/**
 * All tables of a schedule.
 * @throws UserError where T is not a positive integer, a β lies outside (0, 1), or as many β are not written out
 */
export function createSchedule(config: ScheduleConfig): Schedule {
  const { timesteps } = config
  if (!Number.isInteger(timesteps) || timesteps < 1) {
    throw new UserError(`Found ${timesteps} timesteps; expected a whole number of at least 1, usually 1000.`)
  }
  const given = config.betas ? Float64Array.from(config.betas) : betasOf[config.betaSchedule](config)
  if (given.length !== timesteps) {
    throw new UserError(`Found ${given.length} β written out; expected ${timesteps}, one for each timestep.`)
  }
  const outside = given.findIndex((beta) => !(beta > 0 && beta < 1))
  if (outside >= 0) {
    throw new UserError(
      `Found β = ${given[outside]} at timestep ${outside}; expected values strictly between 0 and 1. ` +
        'Mend betaStart and betaEnd (the paper has 0.0001 and 0.02).',
    )
  }

  if (config.zeroTerminalSnr && timesteps < 2) {
    throw new UserError('Found 1 timestep; a schedule that ends at zero signal needs at least 2.')
  }

  const betas = config.zeroTerminalSnr ? zeroTerminalSnr(given) : given
  const alphas = betas.map((beta) => 1 - beta)
  let product = 1
  const alphasCumprod = alphas.map((alpha) => (product *= alpha))
  const alphasCumprodPrev = alphasCumprod.map((_, t) => (t === 0 ? 1 : alphasCumprod[t - 1]!))

  const each = (f: (beta: number, alpha: number, alphaBar: number, alphaBarPrev: number) => number) =>
    betas.map((beta, t) => f(beta, alphas[t]!, alphasCumprod[t]!, alphasCumprodPrev[t]!))
  const posteriorVariance = each((beta, _, bar, prev) => (beta * (1 - prev)) / (1 - bar))
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
    posteriorMeanCoef1: each((beta, _, bar, prev) => (beta * Math.sqrt(prev)) / (1 - bar)),
    posteriorMeanCoef2: each((_, alpha, bar, prev) => ((1 - prev) * Math.sqrt(alpha)) / (1 - bar)),
  }
}
