import { qPosterior } from '@ddpm/shared/process'
import { type Manifest, planFor } from 'ddpm-sampler'

/** Coefficients of the forward and the reverse process at every timestep. Index 0 is the first noising step. */
export interface Process {
  readonly timesteps: number
  /** ᾱ_t. */
  readonly alphaBar: readonly number[]
  /** β_t. */
  readonly beta: readonly number[]
  /** The reverse step from each t to t−1. */
  readonly step: readonly StepWeights[]
}

/** Weights of x_0 and x_t in the mean of q(x_{t−1} | x_t, x_0), and its standard deviation: DDPM eq. 7. */
export interface StepWeights {
  readonly x0: number
  readonly xt: number
  readonly sigma: number
}

/** Returns the coefficients of a model, from the rows of ancestral sampling over all timesteps. */
export function processOf(manifest: Manifest): Process {
  const steps = manifest.scheduler.num_train_timesteps
  const { rows } = planFor(manifest, {
    sampler: 'ddpm',
    steps,
    spacing: 'leading',
    varianceType: 'fixedSmall',
  })
  const ascending = [...rows].sort((a, b) => a.t! - b.t!)
  return {
    timesteps: steps,
    alphaBar: ascending.map(({ alphaBar }) => alphaBar),
    beta: ascending.map(({ alphaBar, alphaBarNext }) => 1 - alphaBar / alphaBarNext),
    step: ascending.map(({ a, b, d }) => ({ x0: b, xt: a, sigma: d as number })),
  }
}

const maxSteps = 50

/**
 * Plans at most 50 evenly spaced steps from timestep t to the finished image, which has the target −1. A step over several
 * timesteps has the posterior of the shortened chain.
 */
export function remainingSteps({ alphaBar }: Process, t: number): { weights: StepWeights; target: number }[] {
  const count = Math.min(maxSteps, t + 1)
  const timestep = (i: number) => Math.round(t - (i * (t + 1)) / count)
  return Array.from({ length: count }, (_, i) => {
    const [current, target] = [timestep(i), timestep(i + 1)]
    const alphaBarPrev = target < 0 ? 1 : alphaBar[target]!
    const alpha = alphaBar[current]! / alphaBarPrev
    const posterior = qPosterior({ alpha, beta: 1 - alpha, alphaBar: alphaBar[current]!, alphaBarPrev })
    const weights = {
      x0: posterior.x0Weight,
      xt: posterior.xtWeight,
      sigma: Math.sqrt(posterior.variance),
    }
    return { weights, target }
  })
}

/** Takes one reverse step: the mean for the clamped x̂₀ and x_t, plus σ·z. All arrays are [size]. */
export function stepBack(
  { x0: a, xt: b, sigma }: StepWeights,
  { x0, xt, z }: { x0: Float32Array; xt: Float32Array; z: Float32Array },
): Float32Array {
  return xt.map((value, i) => b * value + a * clampToUnit(x0[i]!) + sigma * z[i]!)
}

/** Clamps to [−1, 1], the range of image values. */
function clampToUnit(value: number): number {
  return Math.min(Math.max(value, -1), 1)
}

/** Returns the mean of (a − b)², the term that L_simple averages. */
export function meanSquare(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0) / a.length
}

/**
 * Returns an image of a sun over a hill, shown until the model has generated samples.
 * @returns [channels, height, width] in [−1, 1]
 */
export function sunrise({ channels, height, width }: Manifest['shape']): Float32Array {
  const out = new Float32Array(channels * height * width)
  const sky = [0.72, 0.86, 0.95]
  const sun = [0.95, 0.35, -0.4]
  const hill = [-0.55, -0.1, -0.45]
  for (let i = 0; i < out.length; i++) {
    const channel = Math.floor(i / (height * width))
    const [y, x] = [Math.floor((i % (height * width)) / width) / height, (i % width) / width]
    const colour =
      y > 0.72 - 0.12 * Math.sin(x * 3.2) ? hill : Math.hypot(x - 0.55, y - 0.42) < 0.22 ? sun : sky
    out[i] = colour[channel]!
  }
  return out
}
