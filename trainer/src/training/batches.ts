import {
  domains,
  lossWeight,
  normals,
  permutation,
  type Schedule,
  targetWeights,
  uniforms,
} from '@ddpm/shared'
import { type Dataset, imageSize, writeImage } from '../data/dataset.ts'
import { gather } from '../data/gather.ts'
import { dropoutLayout, type UNetConfig } from '../network/unet.ts'
import { dropMasks } from '../objective/dropout.ts'
import type { Recipe } from '../run/recipes.ts'
import type { Batch } from '../step/engine.ts'
import { coefficientNames } from '../step/step.ts'

export type BatchOptions = Pick<
  Recipe,
  'seed' | 'batchSize' | 'labelDropout' | 'flip' | 'predictionType' | 'lossWeighting'
>

/**
 * Makes the batch of any step. Everything random is a function of the seed and the step, so a run that was stopped
 * goes on with the batches it would have had.
 * @param dataset all of it in memory
 * @returns for step 0, 1, …: the batch, in memory of its own
 */
export function batchMaker(
  dataset: Dataset,
  schedule: Schedule,
  config: UNetConfig,
  options: BatchOptions,
): (step: number) => Batch {
  const batchOf = batchForm(dataset, schedule, config, options)
  const indicesAt = imageOrder(dataset.count, options)
  return (step) => batchOf(step, dataset, indicesAt(step))
}

/** The same batches from pictures that need not be in memory: those that are not are decoded for it. */
export function batchReader(
  dataset: Dataset,
  schedule: Schedule,
  config: UNetConfig,
  options: BatchOptions,
): (step: number) => Promise<Batch> {
  const batchOf = batchForm(dataset, schedule, config, options)
  const indicesAt = imageOrder(dataset.count, options)
  const inPlace = Uint32Array.from({ length: options.batchSize }, (_, i) => i)
  return async (step) => batchOf(step, await gather(dataset, indicesAt(step)), inPlace)
}

/** What becomes of the pictures of a step, which `indices` finds in `held`. */
function batchForm(
  shape: Dataset,
  schedule: Schedule,
  config: UNetConfig,
  options: BatchOptions,
): (step: number, held: Dataset, indices: Uint32Array) => Batch {
  const { seed, batchSize: n } = options
  const size = imageSize(shape)
  const masked = dropoutLayout(config, shape).size

  return (step, held, indices) => {
    const x0 = new Float32Array(n * size)
    const noise = new Float32Array(n * size)
    const timestep = new Float32Array(n)
    const label = config.classes > 0 ? new Float32Array(n) : null
    const coefficients = new Float32Array(n * coefficientNames.length)
    const dropout = masked > 0 ? new Float32Array(n * masked) : null
    const one = (domain: number) => uniforms(seed, { domain, image: 0, step }, n)
    const [offset] = uniforms(seed, { domain: domains.trainingTimestep, image: 0, step }, 1)
    const flips = one(domains.augmentation)
    const unlabelled = one(domains.labelDropout)
    for (const [i, index] of indices.entries()) {
      writeImage(held, index, x0, i * size, options.flip && flips[i]! < 0.5)
      normals(seed, { domain: domains.trainingNoise, image: i, step }, noise, i * size, size)
      // Spread evenly over 0 … T−1 from a random start: each uniform, together with less variance than independent
      // ones (Kingma et al. 2021, "Variational diffusion models", appendix I.1).
      timestep[i] = Math.floor(((offset! + i / n) % 1) * schedule.timesteps)
      if (label) label[i] = unlabelled[i]! < options.labelDropout ? config.classes : held.labels![index]!
    }
    writeCoefficients(coefficients, timestep, schedule, options)
    if (dropout) dropMasks(seed, step, config.dropout, dropout)
    return { x0, noise, timestep, label, coefficients, dropout }
  }
}

/** A batch cut into `count` of equal size, as views: what a step of several micro-batches takes. */
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

/** Which pictures a step takes: every one once per epoch, each epoch in an order of its own. */
function imageOrder(count: number, { seed, batchSize }: BatchOptions): (step: number) => Uint32Array {
  let known = -1
  let order: Uint32Array = new Uint32Array()
  return (step) =>
    Uint32Array.from({ length: batchSize }, (_, i) => {
      const position = step * batchSize + i
      const epoch = Math.floor(position / count)
      if (epoch !== known) {
        order = permutation(seed, { domain: domains.shuffle, image: 0, step: epoch }, count)
        known = epoch
      }
      return order[position % count]!
    })
}

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
