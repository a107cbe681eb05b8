import { createSchedule, type Network, weightedSum } from '@ddpm/shared'
import type { Dataset } from '../data/dataset.ts'
import type { UNetConfig } from '../network/unet.ts'
import type { Recipe } from '../run/recipes.ts'
import { scheduleOf } from '../run/run.ts'
import type { Batch, Engine } from '../step/engine.ts'
import { type StepScalars, stepScalarNames, stepScalars } from '../step/optimizer.ts'
import { coefficientNames } from '../step/step.ts'
import { batchReader, microBatches } from './batches.ts'
import { prefetch } from './prefetch.ts'

/** The learning rate of step 0, 1, …: a linear rise, then constant or half a cosine down to 0. */
export function learningRateAt(
  { learningRate, warmup, learningRateSchedule, steps }: Recipe,
  step: number,
): number {
  if (step < warmup) return (learningRate * (step + 1)) / warmup
  if (learningRateSchedule === 'constant') return learningRate
  const progress = (step - warmup) / Math.max(1, steps - warmup)
  return (learningRate * (1 + Math.cos(Math.PI * Math.min(1, progress)))) / 2
}

/** The moving average's decay at step 0, 1, …: short at first, when the weights are still far from good. */
export function emaDecayAt({ emaDecay }: Pick<Recipe, 'emaDecay'>, step: number): number {
  return Math.min(emaDecay, (1 + step) / (10 + step))
}

/** The scalars of step 0, 1, … in the order in which an engine takes them. */
function scalarsAt(recipe: Recipe, step: number): Float32Array {
  const scalars: StepScalars<number> = stepScalars(recipe, {
    step: step + 1,
    learningRate: learningRateAt(recipe, step),
    weightDecay: recipe.weightDecay,
    emaDecay: emaDecayAt(recipe, step),
  })
  return Float32Array.from(stepScalarNames, (name) => scalars[name])
}

export interface StepReport {
  /** Steps done, this one included. */
  readonly step: number
  readonly loss: number
  readonly gradientNorm: number
  readonly learningRate: number
  /** The part of the step's time that passed waiting for its batch, 0 … 1. */
  readonly dataWait: number
}

/** Loss or gradient stopped being finite: the state is as it was before `step`. */
export class NotFinite extends Error {
  override readonly name = 'NotFinite'
  readonly step: number
  readonly found: string
  /** What the step was fed. */
  readonly batches: readonly Batch[]
  constructor(step: number, found: string, batches: readonly Batch[]) {
    super(`Step ${step}: ${found}`)
    this.step = step
    this.found = found
    this.batches = batches
  }
}

/**
 * Trains from step `from` to the recipe's last.
 * @param onStep after every step; returns true to stop
 * @throws NotFinite
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
      const began = performance.now()
      const batches = microBatches(await source.batchAt(step), recipe.accumulate)
      const waited = performance.now() - began
      const { loss, gradientNorm, finite } = await engine.step(batches, scalarsAt(recipe, step))
      const dataWait = Number((waited / (performance.now() - began)).toFixed(4))
      if (!finite) throw new NotFinite(step + 1, `loss ${loss}, gradient norm ${gradientNorm}`, batches)
      const done = {
        step: step + 1,
        loss,
        gradientNorm,
        learningRate: learningRateAt(recipe, step),
        dataWait,
      }
      if (await onStep(done)) return
    }
  } finally {
    await source.close()
  }
}

/** Maximum number of validation images, and of images per forward pass. */
const maxValidationImages = 256
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
  const batchAt = batchReader(dataset, createSchedule(scheduleOf(recipe)), config, options)
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

/** The engine's averaged weights as the network that a sampler asks. */
export function emaNetwork(engine: Engine): Network {
  return (x, timestep, label) => engine.predict('ema', x, timestep, label)
}
