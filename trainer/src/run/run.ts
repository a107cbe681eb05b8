import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import {
  createSchedule,
  type ModelInfo,
  type ScheduleConfig,
  toSchedulerConfig,
  UserError,
} from '@ddpm/shared'
import { quote } from '@ddpm/shared/cli'
import * as z from 'zod'
import { type UNetConfig, validateUNet } from '../network/config.ts'
import { createParameterLayout, type ParameterLayout } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import { createVariationalTable } from '../objective/variational.ts'
import type { NetworkSpec, StepSpec } from '../step/spec.ts'
import { writeAtomically } from '../support/files.ts'
import { type Checkpoint, listCheckpoints, readCheckpoint } from './checkpoint.ts'
import { currentName, parseRecipe } from './recipe-reader.ts'
import { pickNetworkFields, type Recipe } from './recipes.ts'
import { DamagedFileError } from './safetensors.ts'

/** Contents of a run's `config.json`: the recipe with all overrides, and the properties of the images. */
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

const positive = z.int().positive()
const configSchema = z.object({
  version: z.literal(1),
  recipe: z.looseObject({ recipe: z.string(), data: z.string() }),
  dataset: z.object({
    name: z.string(),
    // 0 if the weights were imported.
    count: z.int().nonnegative(),
    channels: positive,
    height: positive,
    width: positive,
    classes: z.array(z.string()),
  }),
})

/** A folder with config.json, checkpoints, metrics.jsonl and samples of a training run. */
export interface Run {
  readonly folder: string
  readonly config: RunConfig
}

/**
 * Returns the network of a run.
 * @throws UserError if it does not fit the images
 */
export function networkOf({ recipe, dataset: images }: RunConfig): NetworkSpec {
  const unet: UNetConfig = {
    inputChannels: images.channels,
    outputChannels: (recipe.varianceType === 'learnedRange' ? 2 : 1) * images.channels,
    ...pickNetworkFields(recipe),
    timesteps: recipe.timesteps,
    classes: images.classes.length,
  }
  validateUNet(unet, images)
  return { unet, height: images.height, width: images.width }
}

/** Returns the specification of a run's training step. */
export function stepOf(config: RunConfig): StepSpec {
  const { batchSize, accumulate, beta1, beta2, eps, clipNorm, predictionType, varianceType } = config.recipe
  return {
    ...networkOf(config),
    batch: batchSize / accumulate,
    accumulate,
    adam: { beta1, beta2, eps },
    clipNorm: clipNorm === 0 ? null : clipNorm,
    ...(varianceType === 'learnedRange' && {
      variational: createVariationalTable(createSchedule(scheduleOf(config.recipe)), predictionType),
    }),
  }
}

export function layoutOfRun(config: RunConfig): ParameterLayout {
  return createParameterLayout(parameterSpecs(networkOf(config).unet))
}

/** Returns the options to open the images of a recipe. */
export function dataOptionsOf({ size, channels, seed, classNames, skipUnreadable }: Recipe) {
  return {
    channels,
    seed,
    skipUnreadable,
    ...(size !== null && { size }),
    ...(classNames !== null && { classNames }),
  }
}

export function scheduleOf({ zeroTerminalSnr, ...recipe }: Recipe): ScheduleConfig {
  const { betaSchedule, timesteps, betaStart, betaEnd } = recipe
  return { betaSchedule, timesteps, betaStart, betaEnd, ...(zeroTerminalSnr && { zeroTerminalSnr }) }
}

/** Returns the properties of a run's model that sampling needs. */
export function modelInfoOf({ recipe, dataset: images }: RunConfig): ModelInfo {
  return {
    shape: { channels: images.channels, height: images.height, width: images.width },
    classes: [...images.classes],
    scheduler: toSchedulerConfig(scheduleOf(recipe), recipe.predictionType, recipe.varianceType),
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
 * Opens the run in a folder.
 * @throws UserError if there is none, or its config.json is invalid
 */
export function openRun(folder: string): Run {
  const path = join(folder, 'config.json')
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new UserError(
      `Cannot find a training run in ${folder} (cannot read config.json: ${(error as NodeJS.ErrnoException).code}). ` +
        'Pass a folder created by `npm run train` or `npm run import`, for example runs/shapes.',
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
      `Invalid JSON in ${path}: ${(error as Error).message}. Restore the file from a backup, or train again.`,
    )
  }
  const { data, error } = configSchema.safeParse(withDataset(json))
  const version = Object(json).version
  if (version > 1) {
    throw new UserError(
      `${path} has version ${version}, but this program reads version 1. Update the program.`,
    )
  }
  if (error) {
    const [{ path: field, message }] = error.issues as [z.core.$ZodIssue]
    throw new UserError(
      `Invalid run configuration ${path}: ${[...field, message].join(': ')}. Restore the file from a backup, or train again.`,
    )
  }
  const recipe = parseRecipe({ ...data.recipe, recipe: currentName(data.recipe.recipe) }, path)
  return { ...data, recipe }
}

/** Renames the field `pictures` of version 0.1 to `dataset`. */
function withDataset(json: unknown): unknown {
  const { pictures: dataset, ...rest } = Object(json)
  return dataset === undefined ? json : { dataset, ...rest }
}

/**
 * Opens a checkpoint and its run.
 * @param path a checkpoint, or the folder of a run to open its newest undamaged checkpoint
 * @param onWarning receives a message if newer checkpoints are damaged
 * @throws UserError if there is no readable checkpoint
 */
export function openCheckpoint(
  path: string,
  onWarning: (message: string) => void = console.warn,
): { run: Run; path: string; checkpoint: Checkpoint } {
  if (!existsSync(path)) {
    throw new UserError(`Cannot find ${path}. Pass the folder of a run or one of its checkpoints.`)
  }
  const isFile = statSync(path).isFile()
  const run = openRun(isFile ? dirname(dirname(resolve(path))) : path)
  const read = (file: string) => readCheckpoint(file, layoutOfRun(run.config), networkOf(run.config).unet)
  if (isFile) return { run, path, checkpoint: read(path) }
  const files = listCheckpoints(path)
  if (files.length === 0) {
    throw new UserError(
      `The run in ${path} has no checkpoint yet. Train it first: npm run train -- --resume ${quote(path)}`,
    )
  }
  const damages: string[] = []
  for (const file of files.reverse()) {
    try {
      const checkpoint = read(file)
      if (damages.length > 0) onWarning(`${damages.join('\n')}\nUsing the previous checkpoint: ${file}.`)
      return { run, path: file, checkpoint }
    } catch (error) {
      if (!(error instanceof DamagedFileError)) throw error
      damages.push(error.message)
    }
  }
  throw new UserError(
    `${damages.join('\n')}\nAll checkpoints in ${path} are damaged. Restore one from a backup, or train again.`,
  )
}

/** Returns the name of a run, which is the name of its folder. */
export function runName({ folder }: Run): string {
  return basename(resolve(folder))
}
