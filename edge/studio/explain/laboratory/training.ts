import { qSample } from '@ddpm/shared/process'
import { domains, fillNormals, uniforms } from '@ddpm/shared/random'
import { layerSizes, schedule, toInput } from './diffusion.ts'
import { backward, createMlp, forward, type Mlp } from './network.ts'

export interface Training {
  /** The network that is trained. Its parameters change with each step. */
  readonly network: Mlp
  /** Number of steps of a complete training. */
  readonly steps: number
  /** Number of completed steps. */
  readonly step: number
  /** Exponential moving average of the loss; 0 before the first step. */
  readonly loss: number
  /** Trains one step. */
  advance(): void
}

/** With these values, training takes 10 to 20 seconds. */
const defaultSteps = 2000
const batchSize = 128
const learningRate = 4e-3

/**
 * Creates the training of a network that predicts noise (DDPM, algorithm 1): each step minimises the mean of (ε̂ − ε)²
 * for random points, timesteps and noise. The same points and seed give the same network.
 * @param points [count, 2], at least one point
 * @param seed of the initial weights and of all random choices
 */
export function createTraining(points: Float32Array, seed: number, steps = defaultSteps): Training {
  const network = createMlp(layerSizes, seed)
  const optimizer = createAdam(network.parameters)
  let [step, loss] = [0, 0]
  return {
    network,
    steps,
    get step() {
      return step
    },
    get loss() {
      return loss
    },
    advance() {
      const { input, noise } = createBatch(points, seed, step)
      const pass = forward(network, input, batchSize)
      const error = pass.output.map((value, i) => value - noise[i]!)
      const batchLoss = error.reduce((sum, value) => sum + value ** 2, 0) / error.length
      const outputGradient = error.map((value) => (2 * value) / error.length)
      // Half a cosine, to 0: without decay, the last steps would leave noise in the network.
      const rate = learningRate * 0.5 * (1 + Math.cos((Math.PI * step) / steps))
      optimizer.update(backward(network, pass, outputGradient), rate)
      step++
      loss += (batchLoss - loss) * Math.max(0.01, 1 / step)
    },
  }
}

/** Draws points, timesteps and noise for a step. */
function createBatch(
  points: Float32Array,
  seed: number,
  step: number,
): { input: Float64Array; noise: Float32Array } {
  const noise = new Float32Array(2 * batchSize)
  fillNormals(seed, { domain: domains.trainingNoise, image: 0, step }, noise)
  const choices = uniforms(seed, { domain: domains.selection, image: 0, step }, batchSize)
  const timesteps = uniforms(seed, { domain: domains.trainingTimestep, image: 0, step }, batchSize).map((u) =>
    Math.floor(u * schedule.timesteps),
  )
  const xt = new Float32Array(2 * batchSize)
  for (let i = 0; i < batchSize; i++) {
    const point = 2 * Math.floor(choices[i]! * (points.length / 2))
    const [from, to] = [2 * i, 2 * i + 2]
    qSample(
      schedule.alphasCumprod[timesteps[i]!]!,
      points.subarray(point, point + 2),
      noise.subarray(from, to),
      xt.subarray(from, to),
    )
  }
  return { input: toInput(xt, (i) => timesteps[i]!), noise }
}

/** Creates Adam (Kingma & Ba 2015, algorithm 1) with β₁ = 0.9, β₂ = 0.999. `update` changes the parameters in place. */
function createAdam(parameters: Float64Array): { update(gradient: Float64Array, rate: number): void } {
  const [beta1, beta2, epsilon] = [0.9, 0.999, 1e-8]
  const [m, v] = [new Float64Array(parameters.length), new Float64Array(parameters.length)]
  let [power1, power2] = [1, 1]
  return {
    update(gradient, rate) {
      power1 *= beta1
      power2 *= beta2
      for (let i = 0; i < parameters.length; i++) {
        const g = gradient[i]!
        const mean = (m[i] = beta1 * m[i]! + (1 - beta1) * g)
        const square = (v[i] = beta2 * v[i]! + (1 - beta2) * g * g)
        parameters[i]! -= (rate * (mean / (1 - power1))) / (Math.sqrt(square / (1 - power2)) + epsilon)
      }
    },
  }
}
