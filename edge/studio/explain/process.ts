import { type Manifest, planFor } from 'ddpm-sampler'

/** The numbers of the forward and the reverse process at every timestep, index 0 the first noising step. */
export interface Process {
  readonly timesteps: number
  /** ᾱ_t and β_t. */
  readonly alphaBar: readonly number[]
  readonly beta: readonly number[]
  /** Of the step from each t to t−1. */
  readonly step: readonly StepWeights[]
}

/** The weights of x_0 and x_t in the mean of q(x_{t−1} | x_t, x_0), and its standard deviation: DDPM eq. 7. */
export interface StepWeights {
  readonly x0: number
  readonly xt: number
  readonly sigma: number
}

/** Read from the table of ancestral sampling over all timesteps, which is these numbers row by row. */
export function processOf(manifest: Manifest): Process {
  const steps = manifest.scheduler.num_train_timesteps
  const { rows } = planFor(manifest, {
    sampler: 'ddpm',
    steps,
    spacing: 'leading',
    varianceType: 'fixedSmall',
  })
  const upwards = [...rows].sort((a, b) => a.t! - b.t!)
  return {
    timesteps: steps,
    alphaBar: upwards.map(({ alphaBar }) => alphaBar),
    beta: upwards.map(({ alphaBar, alphaBarNext }) => 1 - alphaBar / alphaBarNext),
    step: upwards.map(({ a, b, d }) => ({ x0: b, xt: a, sigma: d as number })),
  }
}

/** x_t = √ᾱ·x_0 + √(1−ᾱ)·ε: DDPM eq. 4. All [size]. */
export function noised(x0: Float32Array, alphaBar: number, epsilon: Float32Array): Float32Array {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)]
  return x0.map((value, i) => signal * value + noise * epsilon[i]!)
}

/** One step back: the mean that x̂_0 and x_t give, and fresh noise. All [size]. */
export function stepBack(
  { x0: a, xt: b, sigma }: StepWeights,
  { x0, xt, z }: { x0: Float32Array; xt: Float32Array; z: Float32Array },
): Float32Array {
  return xt.map((value, i) => b * value + a * clamped(x0[i]!) + sigma * z[i]!)
}

/** Pictures have nothing beyond ±1. */
function clamped(value: number): number {
  return Math.min(Math.max(value, -1), 1)
}

/** The mean of (a − b)²: what L_simple averages. */
export function meanSquare(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0) / a.length
}

/** A sun over a hill, for as long as nothing better is there: [channels, height, width] in [−1, 1]. */
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
