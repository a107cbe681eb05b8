import { fillNoise, runPlan } from '@ddpm/shared/loop'
import { defaultSampling, planSampler, type Sampler } from '@ddpm/shared/samplers'
import { createSchedule, paperSchedule } from '@ddpm/shared/schedule'
import { forward, type Mlp } from './network.ts'

/**
 * Points lie in the square [−1.5, 1.5]². Most sets of points then have a standard deviation near 1, as the noise has.
 */
export const halfWidth = 1.5

/** The schedule of DDPM: T = 1000, β linear from 1e-4 to 0.02. */
export const schedule = createSchedule(paperSchedule)

/** Number of features that describe the noise level to the network. */
const timeFeatures = 10

/**
 * Angular frequencies of the sines and cosines that describe a coordinate to the network (Fourier features, Tancik et al.
 * 2020). A small network learns fine shapes much faster from them than from the coordinates alone.
 */
const frequencies = [1.5, 3, 6]
const pointFeatures = 2 + 4 * frequencies.length

/** Number of values of the network's layers, from the features to the predicted noise. */
export const layerSizes = [pointFeatures + timeFeatures, 64, 64, 2] as const

/** [timesteps, timeFeatures] */
const featureTable = createFeatureTable()

/**
 * Returns the network's input for noisy points.
 * @param xt [count, 2]
 * @param timestepOf returns the timestep of a point
 * @returns [count, layerSizes[0]]: x_t, its sines and cosines, then the features of t
 */
export function toInput(xt: Float32Array, timestepOf: (index: number) => number): Float64Array {
  const size = layerSizes[0]
  const input = new Float64Array((xt.length / 2) * size)
  let o = 0
  for (let i = 0; i < xt.length; i += 2) {
    const [x, y] = [xt[i]!, xt[i + 1]!]
    input[o++] = x
    input[o++] = y
    for (const frequency of frequencies) {
      for (const angle of [frequency * x, frequency * y]) {
        input[o++] = Math.sin(angle)
        input[o++] = Math.cos(angle)
      }
    }
    const first = timestepOf(i / 2) * timeFeatures
    for (let k = 0; k < timeFeatures; k++) input[o++] = featureTable[first + k]!
  }
  return input
}

/**
 * Returns the predicted noise ε̂. The score of the noisy points is −ε̂/√(1−ᾱ_t).
 * @param xt [count, 2], count is a multiple of 4
 * @param t timestep; fractional values are rounded
 * @returns [count, 2]
 */
export function predictNoise(network: Mlp, xt: Float32Array, t: number): Float32Array {
  const timestep = Math.round(t)
  const { output } = forward(
    network,
    toInput(xt, () => timestep),
    xt.length / 2,
  )
  return Float32Array.from(output)
}

export interface TrajectoryOptions {
  readonly sampler: Sampler
  /** Number of sampling steps. */
  readonly steps: number
  /** The same seed gives the same initial noise for every sampler. */
  readonly seed: number
  /** Number of points, a multiple of 4. */
  readonly count: number
}

/**
 * Samples points and records their trajectories.
 * @returns x before the first step and after each step: steps + 1 arrays [count, 2]
 */
export async function sampleTrajectories(
  network: Mlp,
  { sampler, steps, seed, count }: TrajectoryOptions,
): Promise<Float32Array[]> {
  const plan = planSampler(schedule, {
    ...defaultSampling,
    predictionType: 'epsilon',
    clamp: halfWidth,
    sampler,
    steps,
  })
  const trajectory = [initialNoise(seed, count)]
  await runPlan(plan, (x, t) => predictNoise(network, x, t), {
    seed,
    indices: Array.from({ length: count }, (_, i) => i),
    size: 2,
    from: trajectory[0]!,
    onStep({ x }) {
      trajectory.push(x.slice())
    },
  })
  return trajectory
}

/** Returns the initial noise of a seed, [count, 2]. */
export function initialNoise(seed: number, count: number): Float32Array {
  const noise = new Float32Array(2 * count)
  fillNoise(
    seed,
    Array.from({ length: count }, (_, i) => i),
    0,
    noise,
  )
  return noise
}

/**
 * Returns cosines of the log signal-to-noise ratio log(ᾱ/(1−ᾱ)), scaled to 0 … 1 over the schedule. The ratio resolves
 * low noise levels, where the noise changes fast with t.
 */
function createFeatureTable(): Float64Array {
  const ratios = schedule.alphasCumprod.map((alphaBar) => Math.log(alphaBar / (1 - alphaBar)))
  const [high, low] = [ratios[0]!, ratios.at(-1)!]
  return Float64Array.from({ length: schedule.timesteps * timeFeatures }, (_, i) => {
    const share = (ratios[Math.floor(i / timeFeatures)]! - low) / (high - low)
    return Math.cos(Math.PI * ((i % timeFeatures) + 1) * share)
  })
}
