import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { createSchedule, type ModelInfo, type ScheduleConfig, UserError, writeScheduler } from '@ddpm/shared'
import { z } from 'zod'
import { type Layout, layoutOf } from '../network/parameters.ts'
import { parameterSpecs, type UNetConfig, validateUNet } from '../network/unet.ts'
import { variationalTable } from '../objective/variational.ts'
import type { NetworkSpec, StepSpec } from '../step/spec.ts'
import { writeAtomically } from '../support/files.ts'
import { type Checkpoint, listCheckpoints, readCheckpoint } from './checkpoint.ts'
import { readFields } from './recipe-file.ts'
import { type Recipe, recipeDefaults } from './recipes.ts'
import { Damaged } from './safetensors.ts'

/** What `config.json` of a run says: the recipe as it was carried out, and what the pictures turned out to be. */
export interface RunConfig {
  readonly version: 1
  readonly recipe: Recipe
  readonly dataset: {
    readonly name: string
    readonly count: number
    readonly channels: number
    readonly height: number
    readonly width: number
    readonly classes: readonly string[]
  }
}

const whole = z.int().positive()
const configForm = z.object({
  version: z.literal(1),
  recipe: z.looseObject({ recipe: z.string(), data: z.string() }),
  dataset: z.object({
    name: z.string(),
    // None where weights came from elsewhere.
    count: z.int().nonnegative(),
    channels: whole,
    height: whole,
    width: whole,
    classes: z.array(z.string()),
  }),
})

/** A folder with a training run: config.json, checkpoints, metrics.jsonl, samples. */
export interface Run {
  readonly folder: string
  readonly config: RunConfig
}

/** The network of a run. */
export function networkOf({ recipe, dataset: images }: RunConfig): NetworkSpec {
  const unet: UNetConfig = {
    inputChannels: images.channels,
    outputChannels: (recipe.varianceType === 'learnedRange' ? 2 : 1) * images.channels,
    numResBlocks: recipe.numResBlocks,
    baseChannels: recipe.baseChannels,
    channelMultiples: recipe.channelMultiples,
    attention: recipe.attention,
    normGroups: recipe.normGroups,
    normEps: recipe.normEps,
    heads: recipe.heads,
    dropout: recipe.dropout,
    dropoutUnit: recipe.dropoutUnit,
    downsamplePadding: recipe.downsamplePadding,
    timeMultiple: recipe.timeMultiple,
    zeroInit: recipe.zeroInit,
    timesteps: recipe.timesteps,
    classes: images.classes.length,
  }
  validateUNet(unet, images)
  return { unet, height: images.height, width: images.width }
}

/** The training step of a run. */
export function stepOf(config: RunConfig): StepSpec {
  const { batchSize, accumulate, beta1, beta2, eps, clipNorm, predictionType, varianceType } = config.recipe
  return {
    ...networkOf(config),
    batch: batchSize / accumulate,
    accumulate,
    adam: { beta1, beta2, eps },
    clipNorm: clipNorm === 0 ? null : clipNorm,
    ...(varianceType === 'learnedRange' && {
      variational: variationalTable(createSchedule(scheduleOf(config.recipe)), predictionType),
    }),
  }
}

export function layoutOfRun(config: RunConfig): Layout {
  return layoutOf(parameterSpecs(networkOf(config).unet))
}

export function scheduleOf({ zeroTerminalSnr, ...recipe }: Recipe): ScheduleConfig {
  const { betaSchedule, timesteps, betaStart, betaEnd } = recipe
  return { betaSchedule, timesteps, betaStart, betaEnd, ...(zeroTerminalSnr && { zeroTerminalSnr }) }
}

/** What sampling needs to know of a run's model. */
export function modelInfoOf({ recipe, dataset: images }: RunConfig): ModelInfo {
  return {
    shape: { channels: images.channels, height: images.height, width: images.width },
    classes: [...images.classes],
    scheduler: writeScheduler(scheduleOf(recipe), recipe.predictionType, recipe.varianceType),
    sampling: {
      sampler: recipe.sampler,
      steps: Math.min(recipe.samplingSteps, recipe.timesteps),
      spacing: recipe.spacing,
      guidance: images.classes.length === 0 ? 1 : recipe.guidance,
    },
  }
}

export function writeRunConfig(folder: string, config: RunConfig): void {
  writeAtomically(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
}

/**
 * Opens a run by its folder.
 * @throws UserError where there is none
 */
export function openRun(folder: string): Run {
  const path = join(folder, 'config.json')
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new UserError(
      `Found no training run in ${folder} (${(error as NodeJS.ErrnoException).code} on config.json). ` +
        'Give the folder that `npm run train` or `npm run import` has made, like runs/shapes.',
    )
  }
  return { folder, config: readConfig(path, text) }
}

function readConfig(path: string, text: string): RunConfig {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new UserError(
      `${path} is not JSON (${(error as Error).message}). Restore it from a copy, or train again.`,
    )
  }
  const { data, error } = configForm.safeParse(withDataset(json))
  const version = Object(json).version
  if (version > 1) throw new UserError(`${path} is of version ${version}, this program reads 1: update it.`)
  if (error) {
    const [{ path: field, message }] = error.issues as [z.core.$ZodIssue]
    throw new UserError(
      `${path} is not a run's configuration of version 1: ${[...field, message].join(': ')}. Restore it from a copy, ` +
        'or train again.',
    )
  }
  const { recipe, ...fields } = data.recipe
  // Runs that were begun before a field existed have its default.
  const read: Recipe = { recipe, data: '', size: null, ...recipeDefaults, ...readFields(path, fields) }
  return { ...data, recipe: read }
}

/** Runs of version 0.1 call the field `pictures`. */
function withDataset(json: unknown): unknown {
  const { pictures: dataset, ...rest } = Object(json)
  return dataset === undefined ? json : { dataset, ...rest }
}

/**
 * The run and the checkpoint that a path stands for: a run's folder means its latest checkpoint that is whole.
 * @param onWarning told of those that are not, and which one is taken
 */
export function openCheckpoint(
  path: string,
  onWarning: (message: string) => void = console.warn,
): { run: Run; path: string; checkpoint: Checkpoint } {
  if (!existsSync(path))
    throw new UserError(`There is no ${path}. Give a run's folder or one of its checkpoints.`)
  const isFile = statSync(path).isFile()
  const run = openRun(isFile ? dirname(dirname(resolve(path))) : path)
  const read = (file: string) => readCheckpoint(file, layoutOfRun(run.config), networkOf(run.config).unet)
  if (isFile) return { run, path, checkpoint: read(path) }
  const files = listCheckpoints(path)
  if (files.length === 0) {
    throw new UserError(
      `The run in ${path} has no checkpoint yet. Train it first: npm run train -- --resume ${path}`,
    )
  }
  const damages: string[] = []
  for (const file of files.reverse()) {
    try {
      const checkpoint = read(file)
      if (damages.length > 0) onWarning(`${damages.join('\n')}\nTook the one before: ${file}.`)
      return { run, path: file, checkpoint }
    } catch (error) {
      if (!(error instanceof Damaged)) throw error
      damages.push(error.message)
    }
  }
  throw new UserError(
    `${damages.join('\n')}\nNone of the checkpoints in ${path} is whole. Restore one from a copy, or train again.`,
  )
}

/** A run's name: its folder's. */
export function runName({ folder }: Run): string {
  return basename(resolve(folder))
}
