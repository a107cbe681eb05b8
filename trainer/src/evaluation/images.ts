import { existsSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { domains, type ModelInfo, permutation, UserError } from '@ddpm/shared'
import { type Dataset, split } from '../data/dataset.ts'
import { openData } from '../data/open.ts'
import { openRun, type Run } from '../run/run.ts'

export const splits = ['train', 'validation', 'all'] as const
export type Split = (typeof splits)[number]

/** Pictures to evaluate on, and what they are. */
export interface Evaluated {
  readonly dataset: Dataset
  readonly source: string
  readonly split: Split
}

/** The run that a folder or checkpoint belongs to; null for an exported model. */
export function runOf(path: string): Run | null {
  if (existsSync(join(path, 'manifest.json'))) return null
  if (!existsSync(path))
    throw new UserError(
      `There is no ${path}. Give a run's folder, one of its checkpoints or an exported model.`,
    )
  return openRun(folderOf(path))
}

/** The folder of a run, by it or one of its checkpoints, or that of an exported model. */
export function folderOf(path: string): string {
  return statSync(path).isFile() ? dirname(dirname(resolve(path))) : path
}

/**
 * Opens pictures to hold a model to: those of `data`, all of them unless a split is asked for, or those that the run was
 * trained with, of which a part was kept for validation.
 * @param ownSplit of the run's own pictures, where none is asked for
 * @throws UserError where there are none, or where they are not like the model's
 */
export async function openEvaluated(
  path: string,
  { shape }: ModelInfo,
  { data, split: asked }: { data?: string | undefined; split?: Split | undefined },
  ownSplit: Split,
): Promise<Evaluated> {
  const run = runOf(path)
  const source = data ?? run?.config.recipe.data
  if (source === undefined)
    throw new UserError(`${path} is an exported model and does not say where its pictures are: give --data.`)
  const chosen = asked ?? (data === undefined ? ownSplit : 'all')
  if (chosen !== 'all' && run === null)
    throw new UserError(
      `Found --split ${chosen} with an exported model; only a run knows its split. Leave it out.`,
    )

  const { channels, height, width } = shape
  const whole = await openData(source, {
    ...(height === width && { size: height }),
    channels: channels === 1 ? 1 : 3,
    seed: run?.config.recipe.seed ?? 0,
    onWarning: (warning) => console.warn(warning),
  })
  if (whole.channels !== channels || whole.height !== height || whole.width !== width) {
    throw new UserError(
      `The pictures of ${source} are ${whole.channels}×${whole.height}×${whole.width}; the model draws ` +
        `${channels}×${height}×${width}. Give pictures of that size.`,
    )
  }
  const dataset =
    chosen === 'all' ? whole : split(whole, run!.config.recipe.validation, run!.config.recipe.seed)[chosen]
  return { dataset, source, split: chosen }
}

/** Pictures as bytes: [count, channels, height, width]. */
export interface Images {
  readonly channels: number
  readonly height: number
  readonly width: number
  readonly pixels: Uint8Array
}

export function countOf({ channels, height, width, pixels }: Images): number {
  return pixels.length / (channels * height * width)
}

/**
 * A random choice of a set's pictures.
 * @param from how many of the same seed's choice to leave out before
 */
export function chooseImages(dataset: Dataset, count: number, seed: number, from = 0): Images {
  const { channels, height, width } = dataset
  const size = channels * height * width
  const order = permutation(seed, { domain: domains.selection, image: 1, step: 0 }, dataset.count)
  const chosen = order.subarray(from, from + count)
  const pixels = new Uint8Array(chosen.length * size)
  chosen.forEach((index, to) => {
    pixels.set(dataset.pixels.subarray(index * size, (index + 1) * size), to * size)
  })
  return { channels, height, width, pixels }
}
