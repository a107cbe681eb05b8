import { existsSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { domains, type ModelInfo, randomPermutation, UserError } from '@ddpm/shared'
import { type Dataset, split } from '../../data/dataset/dataset.ts'
import { formatSize } from '../../data/dataset/size.ts'
import { openData } from '../../data/open.ts'
import { dataOptionsOf, openRun, type Run } from '../../run/run.ts'

export const splits = ['train', 'validation', 'all'] as const
export type Split = (typeof splits)[number]

/** Real images that a model is evaluated on, and where they come from. */
export interface EvaluationSet {
  readonly dataset: Dataset
  readonly source: string
  readonly split: Split
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
  const dataset =
    chosen === 'all' ? all : split(all, run!.config.recipe.validation, run!.config.recipe.seed)[chosen]
  return { dataset, source, split: chosen }
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
  const { channels, height, width } = dataset
  const size = channels * height * width
  const order = randomPermutation(seed, { domain: domains.selection, image: 1, step: 0 }, dataset.count)
  const chosen = order.subarray(from, from + count)
  const pixels = new Uint8Array(chosen.length * size)
  chosen.forEach((index, to) => {
    pixels.set(dataset.pixels.subarray(index * size, (index + 1) * size), to * size)
  })
  return { channels, height, width, pixels }
}
