import { UserError } from '../base/errors.ts'
import { convertOutput, epsilonWeights, x0Weights } from '../diffusion/process.ts'
import { classLabel } from './classes.ts'
import { type ModelInfo, type Network, resolveSampling } from './model.ts'

export interface PredictOptions {
  /** x_t, [count, channels, height, width]. */
  readonly x: Float32Array
  /** Timestep, from 0 to T−1. */
  readonly t: number
  /** Class name or shared word. Default: null, no class. */
  readonly className?: string | null
}

/**
 * Runs one forward pass at x_t = √ᾱ·x_0 + √(1−ᾱ)·ε and returns the predicted x̂₀ (without clamping) and ε̂.
 * @returns both with the shape of x
 * @throws UserError if the length of x is not a multiple of the image size, t is not a timestep, or the class is unknown
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
    throw new UserError(
      `Invalid x: expected a multiple of ${size} values (the size of an image), got ${x.length}.`,
    )
  }
  const { schedule, options } = resolveSampling(model)
  const alphaBar = schedule.alphasCumprod[t]
  if (alphaBar === undefined) {
    throw new UserError(
      `Invalid timestep: expected a whole number from 0 to ${schedule.timesteps - 1}, got ${t}.`,
    )
  }
  const label = model.classes.length === 0 ? null : new Float32Array(count).fill(classLabel(model, className))
  const output = await network(x, new Float32Array(count).fill(t), label)
  const input = { xt: x, output, count }
  return {
    x0: convertOutput(x0Weights(options.predictionType, alphaBar), input, new Float32Array(x.length)),
    epsilon: convertOutput(
      epsilonWeights(options.predictionType, alphaBar),
      input,
      new Float32Array(x.length),
    ),
  }
}
