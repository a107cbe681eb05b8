import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { progressBar, quote } from '@ddpm/shared/cli'
import { type Dataset, type Split, split } from '../../data/dataset/dataset.ts'
import { parseSize } from '../../data/dataset/size.ts'
import { isBuiltIn, openData } from '../../data/open.ts'
import { createTables, initialize } from '../../network/parameters.ts'
import { listCheckpoints, type Progress } from '../../run/checkpoint.ts'
import { assertNotLocked, lockName, lockRun } from '../../run/lock.ts'
import { differences, openRecipe, validateRecipe } from '../../run/recipe-reader.ts'
import type { Recipe } from '../../run/recipes.ts'
import {
  dataOptionsOf,
  layoutOfRun,
  networkOf,
  openCheckpoint,
  openRun,
  type RunConfig,
  writeRunConfig,
} from '../../run/run.ts'
import type { TrainingState } from '../../step/engine.ts'
import { initialState } from '../../step/engine.ts'
import { formatDuration } from '../../support/duration.ts'
import { removeTemporaryFiles } from '../../support/files.ts'
import { flag, type Options, readOverrides } from './options.ts'

/** A run that is ready to train: new, or resumed from its latest checkpoint. */
export interface PreparedRun {
  readonly folder: string
  /** Whether the run is new: its folder is not created yet. */
  readonly isNew: boolean
  readonly config: RunConfig
  readonly images: Split
  readonly progress: Progress
  readonly state: TrainingState
  readonly tables: ReadonlyMap<string, Float32Array>
  /** The checkpoint to resume from. */
  readonly checkpoint?: string
}

/**
 * Prepares a new run, or resumes one with `--resume`.
 * @throws UserError if the options, the recipe, the images or the folder are invalid
 */
export async function prepareRun(options: Options): Promise<PreparedRun> {
  if (options.dryRun && options.resume !== undefined)
    throw new UserError(
      'Conflicting --dry-run and --resume: a dry run inspects the images of a new run. Remove one of them.',
    )
  return options.resume === undefined ? prepareNew(options) : prepareResumed(options.resume, options)
}

async function prepareNew(options: Options): Promise<PreparedRun> {
  const overrides = readOverrides(options)
  const defaultRecipe = isBuiltIn(overrides.data ?? 'shapes') ? 'shapes' : 'images'
  const recipe = { ...openRecipe(options.recipe ?? defaultRecipe), ...overrides }
  assertTrainable(recipe)
  const folder = options.out ?? join('runs', recipe.recipe)
  assertNotLocked(folder)
  if (existsSync(folder) && readdirSync(folder).some((name) => name !== lockName)) {
    const isRun = existsSync(join(folder, 'config.json'))
    throw new UserError(
      `${folder} already exists. ` +
        (isRun ? `Resume it with npm run train -- --resume ${quote(folder)}, choose` : 'Choose') +
        ' another folder with --out, or remove it.',
    )
  }

  const dataset = await readImages(recipe, options.cache)
  const config: RunConfig = { version: 1, recipe, dataset: describe(dataset, recipe) }
  return {
    folder,
    isNew: true,
    config,
    images: split(dataset, recipe.validation, recipe.seed),
    ...initialProgress(config),
  }
}

/** Fields that may change when a run is resumed. The others determine what was trained so far. */
const changeable = [
  'data',
  'skipUnreadable',
  'steps',
  'sampler',
  'samplingSteps',
  'spacing',
  'guidance',
  'sampleEvery',
  'validateEvery',
  'checkpointEvery',
  'keep',
]

async function prepareResumed(folder: string, options: Options): Promise<PreparedRun> {
  const { config: saved } = openRun(folder)
  const overrides = readOverrides(options)
  if (options.out !== undefined)
    throw new UserError(
      'Conflicting --out and --resume: a run is resumed in its own folder. Remove one of them.',
    )
  const requested = { ...(options.recipe !== undefined && openRecipe(options.recipe)), ...overrides }
  const fixed = Object.fromEntries(Object.entries(requested).filter(([field]) => !changeable.includes(field)))
  const changed = differences(fixed, saved.recipe)
  if (changed.length > 0) {
    throw new UserError(
      `${folder} was started with another recipe:\n${changed.map((line) => `  ${line}\n`).join('')}` +
        `A resumed run may change only ${changeable.map(flag).join(', ')}. ` +
        'Remove the other options, or start a new run with --out.',
    )
  }
  const recipe = { ...saved.recipe, ...requested }
  assertTrainable(recipe)
  lockRun(folder)
  removeTemporaryFiles(folder)

  const dataset = await readImages(recipe, options.cache)
  const { name: _, ...actual } = describe(dataset, recipe)
  const { name, ...expected } = saved.dataset
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new UserError(
      `The images of ${recipe.data} differ from those that ${folder} was started with:\n` +
        `  expected ${JSON.stringify(expected)}\n  got      ${JSON.stringify(actual)}\n` +
        'Restore the images, pass their location with --data, or start a new run with --out.',
    )
  }
  const config: RunConfig = { ...saved, recipe, dataset: { name, ...expected } }
  const run = { folder, isNew: false, config, images: split(dataset, recipe.validation, recipe.seed) }
  if (listCheckpoints(folder).length === 0) return { ...run, ...initialProgress(config) }
  const { checkpoint, path } = openCheckpoint(folder)
  writeRunConfig(folder, config)
  return { ...run, ...checkpoint, checkpoint: path }
}

/**
 * Checks a recipe before any image is read, with the smallest images that fit the network.
 * @throws UserError if it cannot be trained
 */
function assertTrainable(recipe: Recipe): void {
  validateRecipe(recipe)
  const size = parseSize(recipe.size ?? 2 ** (recipe.channelMultiples.length - 1))
  const channels = recipe.channels === 'auto' ? 3 : recipe.channels
  networkOf({
    version: 1,
    recipe,
    dataset: { name: recipe.data, count: 2, channels, ...size, classes: [] },
  })
}

/** Returns the state of a run before its first step. */
function initialProgress(config: RunConfig): Pick<PreparedRun, 'progress' | 'state' | 'tables'> {
  const layout = layoutOfRun(config)
  return {
    progress: { step: 0, seconds: 0, loss: null, validationLoss: null },
    state: initialState(initialize(layout, config.recipe.seed, config.recipe.initialization)),
    tables: createTables(layout),
  }
}

async function readImages(recipe: Recipe, cache = process.availableMemory() / 4): Promise<Dataset> {
  const bar = progressBar('Reading images')
  const start = performance.now()
  const dataset = await openData(recipe.data, {
    ...dataOptionsOf(recipe),
    cache,
    onProgress: (done, total) => {
      const left = ((performance.now() - start) / 1000) * (total / done - 1)
      bar.show(done, total, done < total ? `${formatDuration(left)} left` : '')
    },
    onWarning: (warning) => bar.log(warning),
  })
  bar.end()
  return dataset
}

function describe(
  { name, count, channels, height, width, classes }: Dataset,
  { conditional }: Recipe,
): RunConfig['dataset'] {
  return { name, count, channels, height, width, classes: conditional ? classes : [] }
}
