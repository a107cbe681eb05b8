import {
  domains,
  fillNormals,
  lossWeight,
  randomPermutation,
  type Schedule,
  targetWeights,
  uniforms,
} from '@ddpm/shared'
import { type Dataset, imageSize, writeImage } from '../data/dataset/dataset.ts'
import { gather } from '../data/dataset/gather.ts'
import type { UNetConfig } from '../network/config.ts'
import { dropoutLayout } from '../network/unet.ts'
import { coefficientNames } from '../objective/denoising.ts'
import { fillDropoutMask } from '../objective/dropout.ts'
import type { Recipe } from '../run/recipes.ts'
import type { Batch } from '../step/engine.ts'

export type BatchOptions = Pick<
  Recipe,
  'seed' | 'batchSize' | 'labelDropout' | 'flip' | 'predictionType' | 'lossWeighting'
>

/**
 * Creates a function that returns the batch of a step (0, 1, …). All random numbers depend only on the seed and the step, so
 * a resumed run gets the same batches as an uninterrupted one.
 * @param dataset a dataset with all images in memory
 * @returns a function; its batches do not share memory
 */
export function createBatchMaker(
  dataset: Dataset,
  schedule: Schedule,
  config: UNetConfig,
  options: BatchOptions,
): (step: number) => Batch {
  const makeBatch = createBatchFunction(dataset, schedule, config, options)
  const indicesAt = createImageOrder(dataset.count, options)
  return (step) => makeBatch(step, dataset, indicesAt(step))
}

/**
 * Creates a function that returns the same batches as `createBatchMaker`, but also for datasets whose images are not all in
 * memory. The other images are decoded from their files for each batch.
 */
export function createBatchReader(
  dataset: Dataset,
  schedule: Schedule,
  config: UNetConfig,
  options: BatchOptions,
): (step: number) => Promise<Batch> {
  const makeBatch = createBatchFunction(dataset, schedule, config, options)
  const indicesAt = createImageOrder(dataset.count, options)
  const allIndices = Uint32Array.from({ length: options.batchSize }, (_, i) => i)
  return async (step) => makeBatch(step, await gather(dataset, indicesAt(step)), allIndices)
}

/**
 * Creates a function that makes the batch of a step from the images at `indices` of a dataset in memory.
 * @param shape a dataset with images of the same shape
 */
function createBatchFunction(
  shape: Dataset,
  schedule: Schedule,
  config: UNetConfig,
  options: BatchOptions,
): (step: number, images: Dataset, indices: Uint32Array) => Batch {
  const { seed, batchSize: n } = options
  const size = imageSize(shape)
  const maskSize = dropoutLayout(config, shape).size

  return (step, images, indices) => {
    const x0 = new Float32Array(n * size)
    const noise = new Float32Array(n * size)
    const timestep = new Float32Array(n)
    const label = config.classes > 0 ? new Float32Array(n) : null
    const coefficients = new Float32Array(n * coefficientNames.length)
    const dropout = maskSize > 0 ? new Float32Array(n * maskSize) : null
    const perImage = (domain: number) => uniforms(seed, { domain, image: 0, step }, n)
    const [offset] = uniforms(seed, { domain: domains.trainingTimestep, image: 0, step }, 1)
    const flips = perImage(domains.augmentation)
    const unlabelled = perImage(domains.labelDropout)
    for (const [i, index] of indices.entries()) {
      writeImage(images, index, x0, i * size, options.flip && flips[i]! < 0.5)
      fillNormals(seed, { domain: domains.trainingNoise, image: i, step }, noise, i * size, size)
      // The timesteps of a batch are evenly spaced over 0 … T−1, with a random offset. Each timestep is uniformly
      // distributed, and the loss has a lower variance than with independent timesteps (Kingma et al. 2021, "Variational
      // diffusion models", appendix I.1).
      timestep[i] = Math.floor(((offset! + i / n) % 1) * schedule.timesteps)
      if (label) label[i] = unlabelled[i]! < options.labelDropout ? config.classes : images.labels![index]!
    }
    writeCoefficients(coefficients, timestep, schedule, options)
    if (dropout) fillDropoutMask(seed, step, config.dropout, dropout)
    return { x0, noise, timestep, label, coefficients, dropout }
  }
}

/** Splits a batch into `count` micro-batches of equal size, which share the memory of the batch. */
export function microBatches(batch: Batch, count: number): Batch[] {
  const part = (values: Float32Array, i: number) =>
    values.subarray((i * values.length) / count, ((i + 1) * values.length) / count)
  return Array.from({ length: count }, (_, i) => ({
    x0: part(batch.x0, i),
    noise: part(batch.noise, i),
    timestep: part(batch.timestep, i),
    label: batch.label && part(batch.label, i),
    coefficients: part(batch.coefficients, i),
    dropout: batch.dropout && part(batch.dropout, i),
  }))
}

/** Creates a function that returns the image indices of a step. Every epoch is a new random permutation. */
function createImageOrder(count: number, { seed, batchSize }: BatchOptions): (step: number) => Uint32Array {
  let orderEpoch = -1
  let order: Uint32Array = new Uint32Array()
  return (step) =>
    Uint32Array.from({ length: batchSize }, (_, i) => {
      const position = step * batchSize + i
      const epoch = Math.floor(position / count)
      if (epoch !== orderEpoch) {
        order = randomPermutation(seed, { domain: domains.shuffle, image: 0, step: epoch }, count)
        orderEpoch = epoch
      }
      return order[position % count]!
    })
}

/** Writes the coefficients [N, 5] of each image, in the order of `coefficientNames`. */
function writeCoefficients(
  out: Float32Array,
  timestep: Float32Array,
  { alphasCumprod }: Schedule,
  { predictionType, lossWeighting }: BatchOptions,
): void {
  for (const [i, t] of timestep.entries()) {
    const alphaBar = alphasCumprod[t]!
    out.set(
      [
        Math.sqrt(alphaBar),
        Math.sqrt(1 - alphaBar),
        ...targetWeights(predictionType, alphaBar),
        lossWeight(lossWeighting, predictionType, alphaBar),
      ],
      i * coefficientNames.length,
    )
  }
}
