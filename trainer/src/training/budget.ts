// Chooses the network, the batch size and the number of steps for images of the user, from the time of a training step.
import type { Recipe } from '../run/recipes.ts'
import type { Device } from '../step/engine.ts'

/** Sizes of the network, from the smallest to the largest. */
export const networkSizes = ['small', 'medium', 'large', 'huge'] as const
export type NetworkSize = (typeof networkSizes)[number]

/** What a size of the network means, and when it is worth its cost. */
interface SizeSpec {
  readonly fields: Pick<Recipe, 'baseChannels' | 'numResBlocks' | 'dropout' | 'learningRate'>
  /** Min number of training images that the run sees, counted with repetitions. A shorter run uses a smaller network. */
  readonly minSeen: number
  /** Min number of different images. A larger network memorizes fewer images. */
  readonly minImages: number
}

/** The learning rate falls with the width. `huge` has the width, blocks and learning rate of the published CIFAR-10 network. */
const specs: Readonly<Record<NetworkSize, SizeSpec>> = {
  small: {
    fields: { baseChannels: 16, numResBlocks: 1, dropout: 0, learningRate: 2e-3 },
    minSeen: 0,
    minImages: 0,
  },
  medium: {
    fields: { baseChannels: 32, numResBlocks: 1, dropout: 0, learningRate: 1e-3 },
    minSeen: 80_000,
    minImages: 0,
  },
  large: {
    fields: { baseChannels: 64, numResBlocks: 2, dropout: 0.1, learningRate: 5e-4 },
    minSeen: 600_000,
    minImages: 2000,
  },
  huge: {
    fields: { baseChannels: 128, numResBlocks: 2, dropout: 0.1, learningRate: 2e-4 },
    minSeen: 4_000_000,
    minImages: 10_000,
  },
}

/** Size of the network that is measured first. */
export const firstMeasured: NetworkSize = 'medium'

/** Max number of times that a run sees each image: 800,000 steps of 128 of 50,000 images, as published for CIFAR-10. */
const maxEpochs = 2048
/** Fraction of the time that is left for samples, validation and checkpoints. */
const reserve = 0.1
/** Side below which the image is not halved again. */
const minSide = 7

/**
 * Returns the recipe fields of a network of a size. The image is halved down to a side of 7 to 13 pixels, or until a side is
 * odd. The lowest level has self-attention, unless it is the only one.
 */
export function fieldsOf(
  size: NetworkSize,
  image: { readonly width: number; readonly height: number },
  device: Device,
): Partial<Recipe> {
  const { baseChannels, numResBlocks, dropout, learningRate } = specs[size].fields
  const multiples = [1]
  let [width, height] = [image.width, image.height]
  while (width % 2 === 0 && height % 2 === 0 && Math.min(width, height) >= 2 * minSide) {
    multiples.push(Math.min(4, 2 * multiples.at(-1)!))
    width /= 2
    height /= 2
  }
  return {
    baseChannels,
    numResBlocks,
    dropout,
    learningRate,
    channelMultiples: multiples,
    attention: multiples.map((_, level) => level > 0 && level === multiples.length - 1),
    // A CPU takes twice as long for twice the images. A GPU is not busy with few.
    batchSize: device === 'cpu' ? 16 : 64,
    emaDecay: 0.9999,
    // Salimans & Ho 2022. Colours are right earlier than with ε.
    predictionType: 'v',
    sampler: 'dpmpp',
    samplingSteps: 20,
    spacing: 'lambda',
  }
}

/** Returns the number of steps that fit into a time. */
export function stepsWithin(
  seconds: number,
  { batchSize, secondsPerStep, images }: { batchSize: number; secondsPerStep: number; images: number },
): number {
  const affordable = ((1 - reserve) * seconds) / secondsPerStep
  return Math.max(1, Math.floor(Math.min(affordable, (maxEpochs * images) / batchSize)))
}

/**
 * Fits a recipe to a number of steps: warm-up in at most a twentieth of them, EMA over at most a tenth, ten sample grids, and
 * twenty validations and checkpoints.
 */
export function withSteps(recipe: Recipe, steps: number): Recipe {
  const longestEma = Number(Math.max(0.9, 1 - 10 / steps).toPrecision(4))
  return {
    ...recipe,
    steps,
    warmup: Math.min(recipe.warmup, Math.ceil(steps / 20)),
    emaDecay: Math.min(recipe.emaDecay, longestEma),
    sampleEvery: Math.ceil(steps / 10),
    validateEvery: Math.ceil(steps / 20),
    checkpointEvery: Math.ceil(steps / 20),
  }
}

/** A choice, and what would change it. */
export interface SizeChoice {
  readonly size: NetworkSize
  /** The next smaller network, and the time in seconds below which it is chosen. */
  readonly smaller: { readonly size: NetworkSize; readonly below: number } | null
  /** The next larger network, and the time in seconds and the number of images from which it is chosen. */
  readonly larger: { readonly size: NetworkSize; readonly from: number; readonly minImages: number } | null
}

/**
 * Chooses the largest network that can see enough images within a time and has enough different ones.
 * @param secondsPerImage training time per image of a network
 */
export function chooseSize(
  { seconds, images }: { readonly seconds: number; readonly images: number },
  secondsPerImage: (size: NetworkSize) => number,
): SizeChoice {
  const minSeconds = (size: NetworkSize) => (specs[size].minSeen * secondsPerImage(size)) / (1 - reserve)
  const index = networkSizes.findLastIndex(
    (size) => minSeconds(size) <= seconds && specs[size].minImages <= images,
  )
  const [smaller, size, larger] = [networkSizes[index - 1], networkSizes[index]!, networkSizes[index + 1]]
  return {
    size,
    smaller: smaller ? { size: smaller, below: minSeconds(size) } : null,
    larger: larger ? { size: larger, from: minSeconds(larger), minImages: specs[larger].minImages } : null,
  }
}
