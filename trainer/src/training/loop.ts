// The training loop. When the engine is created, step/training-graphs.ts records the gradient graph: the loss
// (objective/denoising.ts) of the prediction (network/unet.ts), differentiated by algebra/grad.ts. Then every step goes from
// image files to new weights:
//
// 1. batches.ts selects the images and samples timesteps, noise, flips and dropout masks. It runs in a worker thread
//    (prefetch-worker.ts), one step ahead. Images that are not in memory are decoded by data/dataset/gather.ts.
// 2. prefetch.ts receives the batch on the main thread. Its memory is transferred, not copied.
// 3. `train`, below, splits it into micro-batches and calls Engine.step with the step's learning rate and EMA decay.
// 4. engines/onnxruntime.ts runs the gradient graph on each micro-batch. (engines/tfjs.ts does the same eagerly.)
// 5. If the gradients are finite, engines/memory.ts updates parameters, moments and EMA: on the CPU with adam-kernel.ts, on a
//    device with the update graph.
// 6. `train` reports loss and timing to `onStep`.
import { createSchedule, type Network, weightedSum } from '@ddpm/shared'
import type { Dataset } from '../data/dataset/dataset.ts'
import type { UNetConfig } from '../network/config.ts'
import { coefficientNames } from '../objective/denoising.ts'
import type { Recipe } from '../run/recipes.ts'
import { scheduleOf } from '../run/run.ts'
import type { Batch, Engine } from '../step/engine.ts'
import { type StepScalars, stepScalars } from '../step/optimizer.ts'
import { createBatchReader, microBatches } from './batches.ts'
import { prefetch } from './prefetch.ts'

/** Returns the learning rate of step 0, 1, …: linear warm-up, then constant or cosine decay to 0. */
export function learningRateAt(
  { learningRate, warmup, learningRateSchedule, steps }: Recipe,
  step: number,
): number {
  if (step < warmup) return (learningRate * (step + 1)) / warmup
  if (learningRateSchedule === 'constant') return learningRate
  const progress = (step - warmup) / Math.max(1, steps - warmup)
  return (learningRate * (1 + Math.cos(Math.PI * Math.min(1, progress)))) / 2
}

/** Returns the EMA decay of step 0, 1, …. It starts low, so that the average soon does not depend on the initial weights. */
export function emaDecayAt({ emaDecay }: Pick<Recipe, 'emaDecay'>, step: number): number {
  return Math.min(emaDecay, (1 + step) / (10 + step))
}

/** Returns the optimizer's scalars of step 0, 1, …. */
function scalarsAt(recipe: Recipe, step: number): StepScalars<number> {
  return stepScalars(recipe, {
    step: step + 1,
    learningRate: learningRateAt(recipe, step),
    weightDecay: recipe.weightDecay,
    emaDecay: emaDecayAt(recipe, step),
  })
}

export interface StepReport {
  /** Number of finished steps, including this one. */
  readonly step: number
  readonly loss: number
  readonly gradientNorm: number
  readonly learningRate: number
  /** Fraction of the step's duration that was spent waiting for its batch, 0 to 1. */
  readonly dataWait: number
}

/** Thrown if the loss, the gradient or the state is not finite. The state is the same as before `step`. */
export class NotFinite extends Error {
  override readonly name = 'NotFinite'
  readonly step: number
  /** Loss and gradient norm of the step, or the part of the state that is not finite. */
  readonly reason: string
  /** Micro-batches of the step. */
  readonly batches: readonly Batch[]
  constructor(step: number, reason: string, batches: readonly Batch[]) {
    super(`Step ${step}: ${reason}`)
    this.step = step
    this.reason = reason
    this.batches = batches
  }
}

/**
 * Trains from step `from` to the last step of the recipe.
 * @param options.onStep called after every step; returns true to stop
 * @throws NotFinite if a loss or gradient is not finite
 * @throws MissingImageError if an image file can no longer be read
 */
export async function train(
  engine: Engine,
  dataset: Dataset,
  config: UNetConfig,
  recipe: Recipe,
  { from, onStep }: { from: number; onStep: (report: StepReport) => Promise<boolean> | boolean },
): Promise<void> {
  const source = prefetch({ dataset, schedule: scheduleOf(recipe), config, options: recipe }, recipe.steps)
  try {
    for (let step = from; step < recipe.steps; step++) {
      const start = performance.now()
      const batches = microBatches(await source.batchAt(step), recipe.accumulate)
      const waited = performance.now() - start
      const { loss, gradientNorm, finite } = await engine.step(batches, scalarsAt(recipe, step))
      const dataWait = Number((waited / (performance.now() - start)).toFixed(4))
      if (!finite) throw new NotFinite(step + 1, `loss ${loss}, gradient norm ${gradientNorm}`, batches)
      const report = {
        step: step + 1,
        loss,
        gradientNorm,
        learningRate: learningRateAt(recipe, step),
        dataWait,
      }
      if (await onStep(report)) return
    }
  } finally {
    await source.close()
  }
}

/** Max number of validation images. */
const maxValidationImages = 256
/** Max number of validation images per forward pass. */
const validationBatch = 64

/**
 * Computes the loss of the EMA weights on validation images. Images, timesteps and noise are the same in every call.
 * Dropout is off, so the result may be below the training loss.
 */
export async function validationLoss(
  engine: Engine,
  dataset: Dataset,
  config: UNetConfig,
  recipe: Recipe,
): Promise<number> {
  const batchSize = Math.min(validationBatch, dataset.count)
  const options = { ...recipe, batchSize, labelDropout: 0, flip: false, seed: recipe.seed + 1 }
  const batchAt = createBatchReader(dataset, createSchedule(scheduleOf(recipe)), config, options)
  const batches = Math.max(1, Math.floor(Math.min(maxValidationImages, dataset.count) / batchSize))
  let total = 0
  for (let step = 0; step < batches; step++) {
    const { x0, noise, timestep, label, coefficients } = await batchAt(step)
    const size = x0.length / batchSize
    const image = (values: Float32Array, i: number) => values.subarray(i * size, (i + 1) * size)
    const xt = new Float32Array(x0.length)
    for (let i = 0; i < batchSize; i++) {
      const weights = namedCoefficients(coefficients, i)
      weightedSum([weights.signal, weights.noise], image(x0, i), image(noise, i), image(xt, i))
    }
    const output = await engine.predict('ema', xt, timestep, label)
    // If variances are learned, each image's prediction is followed by its variances.
    const stride = output.length / batchSize
    const target = new Float64Array(size)
    for (let i = 0; i < batchSize; i++) {
      const { targetSignal, targetNoise, weight } = namedCoefficients(coefficients, i)
      weightedSum([targetSignal, targetNoise], image(x0, i), image(noise, i), target)
      for (let j = 0; j < size; j++) {
        total += (weight * (output[i * stride + j]! - target[j]!) ** 2) / x0.length
      }
    }
  }
  return total / batches
}

/** Returns the coefficients of image `i` of a batch by name. */
function namedCoefficients(
  coefficients: Float32Array,
  i: number,
): Record<(typeof coefficientNames)[number], number> {
  const entries = coefficientNames.map(
    (name, column) => [name, coefficients[i * coefficientNames.length + column]!] as const,
  )
  return Object.fromEntries(entries) as Record<(typeof entries)[number][0], number>
}

/** Returns the engine's EMA weights as a network for samplers. */
export function emaNetwork(engine: Engine): Network {
  return (x, timestep, label) => engine.predict('ema', x, timestep, label)
}
