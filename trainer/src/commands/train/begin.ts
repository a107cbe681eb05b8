import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { type Dataset, type Parts, split } from '../../data/dataset.ts'
import { isBuiltIn, openData } from '../../data/open.ts'
import { initialize, tablesOf } from '../../network/parameters.ts'
import { listCheckpoints, type Progress } from '../../run/checkpoint.ts'
import { lockName, lockRun, refuseIfLocked } from '../../run/lock.ts'
import { differences, openRecipe, validateRecipe } from '../../run/recipe-reader.ts'
import type { Recipe } from '../../run/recipes.ts'
import {
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
import { removeDrafts } from '../../support/files.ts'
import { progressBar } from '../terminal/progress.ts'
import { flag, type Options, readOverrides } from './options.ts'

/** What a run starts from: fresh, or from its latest checkpoint. */
export interface Beginning {
  readonly folder: string
  /** The folder is yet to be made. */
  readonly isNew: boolean
  readonly config: RunConfig
  readonly images: Parts
  readonly progress: Progress
  readonly state: TrainingState
  readonly tables: ReadonlyMap<string, Float32Array>
  /** The checkpoint that it goes on from. */
  readonly checkpoint?: string
}

/** Begins a run anew, or goes on with one. */
export function begin(options: Options): Promise<Beginning> {
  return options.resume === undefined ? beginAnew(options) : resume(options.resume, options)
}

async function beginAnew(options: Options): Promise<Beginning> {
  const overrides = readOverrides(options)
  const usual = isBuiltIn(overrides.data ?? 'shapes') ? 'shapes' : 'images'
  const recipe = { ...openRecipe(options.recipe ?? usual), ...overrides }
  refuseImpossible(recipe)
  const folder = options.out ?? join('runs', recipe.recipe)
  refuseIfLocked(folder)
  if (existsSync(folder) && readdirSync(folder).some((name) => name !== lockName)) {
    const begun = existsSync(join(folder, 'config.json'))
    throw new UserError(
      `${folder} is there already. ` +
        (begun ? `Go on with it: npm run train -- --resume ${folder}, or choose` : 'Choose') +
        ' another place with --out, or remove it.',
    )
  }

  const dataset = await readImages(recipe, options.cache)
  const config: RunConfig = { version: 1, recipe, dataset: describe(dataset, recipe) }
  return {
    folder,
    isNew: true,
    config,
    images: split(dataset, recipe.validation, recipe.seed),
    ...fresh(config),
  }
}

/** What may be changed when a run goes on; everything else belongs to what was trained so far. */
const changeable = [
  'data',
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

async function resume(folder: string, options: Options): Promise<Beginning> {
  const { config: saved } = openRun(folder)
  const overrides = readOverrides(options)
  if (options.out !== undefined)
    throw new UserError('Found --out with --resume; a run goes on where it is. Leave one of them out.')
  const asked = { ...(options.recipe !== undefined && openRecipe(options.recipe)), ...overrides }
  const fixed = Object.fromEntries(Object.entries(asked).filter(([field]) => !changeable.includes(field)))
  const changed = differences(fixed, saved.recipe)
  if (changed.length > 0) {
    throw new UserError(
      `${folder} was begun with another recipe:\n${changed.map((line) => `  ${line}\n`).join('')}` +
        `A run that goes on may change only ${changeable.map(flag).join(', ')}. ` +
        'Leave the rest out, or start a new run with --out.',
    )
  }
  const recipe = { ...saved.recipe, ...asked }
  refuseImpossible(recipe)
  lockRun(folder)
  removeDrafts(folder)

  const dataset = await readImages(recipe, options.cache)
  const { name: _, ...found } = describe(dataset, recipe)
  const { name, ...expected } = saved.dataset
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new UserError(
      `The pictures of ${recipe.data} are not those that ${folder} was begun with:\n` +
        `  found    ${JSON.stringify(found)}\n  expected ${JSON.stringify(expected)}\n` +
        'Restore them, name the right ones with --data, or start a new run with --out.',
    )
  }
  const config: RunConfig = { ...saved, recipe, dataset: { name, ...expected } }
  const whole = { folder, isNew: false, config, images: split(dataset, recipe.validation, recipe.seed) }
  if (listCheckpoints(folder).length === 0) return { ...whole, ...fresh(config) }
  const { checkpoint, path } = openCheckpoint(folder)
  writeRunConfig(folder, config)
  return { ...whole, ...checkpoint, checkpoint: path }
}

/** Refuses a recipe that cannot be trained before pictures are read: with any that would do. */
function refuseImpossible(recipe: Recipe): void {
  validateRecipe(recipe)
  const side = recipe.size ?? 2 ** (recipe.channelMultiples.length - 1)
  const channels = recipe.channels === 'auto' ? 3 : recipe.channels
  networkOf({
    version: 1,
    recipe,
    dataset: { name: recipe.data, count: 2, channels, height: side, width: side, classes: [] },
  })
}

/** Where a run is before its first step. */
function fresh(config: RunConfig): Pick<Beginning, 'progress' | 'state' | 'tables'> {
  const layout = layoutOfRun(config)
  return {
    progress: { step: 0, seconds: 0, loss: null, validationLoss: null },
    state: initialState(initialize(layout, config.recipe.seed, config.recipe.initialization)),
    tables: tablesOf(layout),
  }
}

async function readImages(recipe: Recipe, cache = process.availableMemory() / 4): Promise<Dataset> {
  const bar = progressBar('Reading pictures')
  const began = performance.now()
  const dataset = await openData(recipe.data, {
    ...(recipe.size !== null && { size: recipe.size }),
    channels: recipe.channels,
    seed: recipe.seed,
    cache,
    onProgress: (done, total) => {
      const left = ((performance.now() - began) / 1000) * (total / done - 1)
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
