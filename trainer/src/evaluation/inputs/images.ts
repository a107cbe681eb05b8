import { existsSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { domains, type ModelInfo, randomPermutation, UserError } from '@ddpm/shared'
import { type Dataset, split } from '../../data/dataset/dataset.ts'
import { formatSize } from '../../data/dataset/size.ts'
import { openData } from '../../data/open.ts'
import { readExported } from '../../run/exported.ts'
import { dataOptionsOf, modelInfoOf, openRun, type Run } from '../../run/run.ts'

export const splits = ['train', 'validation', 'all'] as const
export type Split = (typeof splits)[number]

/** Real images that a model is evaluated on, and where they come from. */
export interface EvaluationSet {
  readonly dataset: Dataset
  readonly source: string
  readonly split: Split
  /** Images of the same source that the model was not trained on, if `dataset` is the training set. */
  readonly heldOut: Dataset | null
}

/**
 * Opens the real images to evaluate a model on: those of `data` (default split: all), or those of the run's own dataset.
 * @param defaultSplit split of the run's own dataset if `split` is not set
 * @throws UserError if there are no images or they do not have the model's size
 */
export async function openEvaluationSet(
  path: string,
  { shape }: ModelInfo,
  { data, split: requested }: { data?: string | undefined; split?: Split | undefined },
  defaultSplit: Split,
): Promise<EvaluationSet> {
  const run = findRun(path)
  const source = data ?? run?.config.recipe.data
  if (source === undefined) {
    throw new UserError(
      `Missing --data: the exported model ${path} does not contain its training images. Pass a source of real images.`,
    )
  }
  const chosen = requested ?? (data === undefined ? defaultSplit : 'all')
  if (chosen !== 'all' && run === null) {
    throw new UserError(
      `Invalid --split ${chosen}: ${path} is an exported model, and only a run has a training and a validation set. ` +
        'Remove --split.',
    )
  }

  const { channels, height, width } = shape
  const recipe = run?.config.recipe
  const all = await openData(source, {
    ...(recipe ? dataOptionsOf(recipe) : { seed: 0 }),
    size: formatSize(shape),
    channels: channels === 1 ? 1 : 3,
    onWarning: (warning) => console.warn(warning),
  })
  if (all.channels !== channels || all.height !== height || all.width !== width) {
    throw new UserError(
      `Invalid size of the images of ${source}: expected ${channels}×${height}×${width} as in the model, got ` +
        `${all.channels}×${all.height}×${all.width}. Use images of that size.`,
    )
  }
  if (chosen === 'all') return { dataset: all, source, split: chosen, heldOut: null }
  const { train, validation } = split(all, run!.config.recipe.validation, run!.config.recipe.seed)
  return chosen === 'train'
    ? { dataset: train, source, split: chosen, heldOut: validation }
    : { dataset: validation, source, split: chosen, heldOut: null }
}

/**
 * Opens real images to compare samples with, without a model. They are scaled and cropped to the size of the samples, like
 * training images.
 * @throws UserError if there are no images, or if they have another size or number of channels
 */
export async function openRealImages(source: string, samples: Images): Promise<EvaluationSet> {
  const { channels, height, width } = samples
  const dataset = await openData(source, {
    seed: 0,
    size: formatSize(samples),
    // Grey samples may belong to a model of RGB images. Samples with colour cannot belong to one of greyscale images.
    channels: channels === 3 ? 3 : 'auto',
    onWarning: (warning) => console.warn(warning),
  })
  if (dataset.height !== height || dataset.width !== width) {
    throw new UserError(
      `Invalid size of the images of ${source}: expected ${width}×${height} as the samples, got ` +
        `${dataset.width}×${dataset.height}. Use images of that size.`,
    )
  }
  return { dataset, source, split: 'all', heldOut: null }
}

/** Returns the run that a folder or checkpoint belongs to; null for an exported model. */
export function findRun(path: string): Run | null {
  if (existsSync(join(path, 'manifest.json'))) return null
  if (!existsSync(path)) {
    throw new UserError(
      `Cannot find ${path}. Pass a run's folder, one of its checkpoints or the folder of an exported model.`,
    )
  }
  return openRun(modelFolder(path))
}

/**
 * Returns the properties of a model's images without opening its network.
 * @throws UserError if the path is not a model
 */
export function modelInfo(path: string): ModelInfo {
  return readExported(path)?.manifest ?? modelInfoOf(findRun(path)!.config)
}

/** Returns the folder of the run that a folder or checkpoint belongs to, or that of an exported model. */
export function modelFolder(path: string): string {
  return statSync(path).isFile() ? dirname(dirname(resolve(path))) : path
}

/** Images as bytes: [count, channels, height, width]. */
export interface Images {
  readonly channels: number
  readonly height: number
  readonly width: number
  readonly pixels: Uint8Array
}

export function countImages({ channels, height, width, pixels }: Images): number {
  return pixels.length / (channels * height * width)
}

/**
 * Selects random images of a dataset, each at most once.
 * @param from number of images of the same seed's selection to skip
 */
export function selectImages(dataset: Dataset, count: number, seed: number, from = 0): Images {
  const order = randomPermutation(seed, { domain: domains.selection, image: 1, step: 0 }, dataset.count)
  return pickImages(dataset, order.subarray(from, from + count))
}

/** Returns the images at the indices. */
export function pickImages(
  { channels, height, width, pixels: all }: Images,
  indices: ArrayLike<number>,
): Images {
  const size = channels * height * width
  const pixels = new Uint8Array(indices.length * size)
  for (let i = 0; i < indices.length; i++) {
    const start = indices[i]! * size
    pixels.set(all.subarray(start, start + size), i * size)
  }
  return { channels, height, width, pixels }
}
