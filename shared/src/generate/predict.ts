import { UserError } from '../base/errors.ts'
import { epsilonWeights, x0Weights } from '../diffusion/process.ts'
import { classLabel, type ModelInfo, type Network, resolveSampling } from './generate.ts'

export interface PredictOptions {
  /** x_t, [count, channels, height, width]. */
  readonly x: Float32Array
  /** Timestep, 0 … T−1. */
  readonly t: number
  /** What it is told to see; null, the default: no class. */
  readonly className?: string | null
}

/**
 * What the network sees in x_t, by one evaluation: x_0 and ε with x_t = √ᾱ·x_0 + √(1−ᾱ)·ε, unclamped.
 * @returns both as x
 * @throws UserError where x is not whole pictures, t not a timestep, or the class unknown
 */
export async function predict(
  model: ModelInfo,
  network: Network,
  { x, t, className = null }: PredictOptions,
): Promise<{ x0: Float32Array; epsilon: Float32Array }> {
  const { channels, height, width } = model.shape
  const size = channels * height * width
  const count = x.length / size
  if (!Number.isInteger(count) || count < 1) {
    throw new UserError(`Found ${x.length} numbers of x; expected a multiple of ${size}, one picture's.`)
  }
  const { schedule, options } = resolveSampling(model)
  const alphaBar = schedule.alphasCumprod[t]
  if (alphaBar === undefined) {
    const last = schedule.alphasCumprod.length - 1
    throw new UserError(`Found the timestep ${t}; expected a whole number from 0 to ${last}.`)
  }
  const label = model.classes.length === 0 ? null : new Float32Array(count).fill(classLabel(model, className))
  const output = await network(x, new Float32Array(count).fill(t), label)
  const stride = output.length / count
  const weighed = ([a, b]: readonly [number, number]) =>
    x.map((value, i) => a * value + b * output[Math.floor(i / size) * stride + (i % size)]!)
  return {
    x0: weighed(x0Weights(options.predictionType, alphaBar)),
    epsilon: weighed(epsilonWeights(options.predictionType, alphaBar)),
  }
}
