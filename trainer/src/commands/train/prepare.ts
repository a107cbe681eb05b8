import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { quote } from '@ddpm/shared/cli'
import { builtInNameOf } from '../../data/built-in.ts'
import { split } from '../../data/dataset/dataset.ts'
import { transferWeights } from '../../network/transfer.ts'
import { listImagesOf } from '../../run/image-list.ts'
import { assertNotLocked, lockName } from '../../run/lock.ts'
import { openPretrained, type Pretrained } from '../../run/pretrained.ts'
import { openRecipe } from '../../run/recipe-reader.ts'
import { layoutOfRun, type RunConfig } from '../../run/run.ts'
import { initialState, type TrainingState } from '../../step/engine.ts'
import { summarize } from '../../support/summarize.ts'
import { fitToTime } from './fit-to-time.ts'
import { type Options, readOverrides } from './options.ts'
import {
  assertTrainable,
  describeImages,
  initialProgress,
  type PreparedRun,
  readImages,
} from './prepared-run.ts'

/**
 * Prepares a new run.
 * @throws UserError if the options, the recipe, the images or the folder are invalid
 */
export async function prepareNew(options: Options): Promise<PreparedRun> {
  const overrides = readOverrides(options)
  if (options.time !== undefined && overrides.steps !== undefined)
    throw new UserError('Conflicting --steps and --time: both set the length of the run. Remove one of them.')
  const defaultRecipe = builtInNameOf(overrides.data ?? 'shapes') ?? 'images'
  const base = { ...openRecipe(options.recipe ?? defaultRecipe), ...overrides }
  const pretrained = base.from === null ? null : await openPretrained(base.from)
  const unfitted = { ...base, ...pretrained?.fields, ...overrides }
  assertTrainable(unfitted)
  const folder = options.out ?? join('runs', unfitted.recipe)
  assertNotLocked(folder)
  if (existsSync(folder) && readdirSync(folder).some((name) => name !== lockName)) {
    const isRun = existsSync(join(folder, 'config.json'))
    throw new UserError(
      `${folder} already exists. ` +
        (isRun ? `Resume it with npm run train -- --resume ${quote(folder)}, choose` : 'Choose') +
        ' another folder with --out, or remove it.',
    )
  }

  const dataset = await readImages(unfitted, options.cache)
  const { recipe, engineRequest } = await fitToTime(unfitted, dataset, options)
  const config: RunConfig = { version: 1, recipe, dataset: describeImages(dataset, recipe) }
  const images = split(dataset, recipe.validation, recipe.seed)
  const { state, ...progress } = initialProgress(config)
  return {
    folder,
    isNew: true,
    engineRequest,
    config,
    images,
    imageList: builtInNameOf(recipe.data) === null ? listImagesOf(dataset) : null,
    ...progress,
    state: pretrained === null ? state : startFrom(pretrained, config, state.parameters),
  }
}

/** Min fraction of the parameters that fine-tuning must take from its source. */
const minTaken = 0.5

/**
 * Returns the initial state of a run that fine-tunes a model, and prints what was taken from it.
 * @param initial weights of parameters that the model does not have
 * @throws UserError if most weights have another shape
 */
function startFrom(pretrained: Pretrained, config: RunConfig, initial: Float32Array): TrainingState {
  const layout = layoutOfRun(config)
  const { classes } = config.dataset
  const { parameters, taken, initialized, takenClasses } = transferWeights(
    layout,
    initial,
    pretrained,
    classes,
  )
  if (taken < minTaken * layout.size) {
    throw new UserError(
      `Cannot start from ${pretrained.description}: only ${taken.toLocaleString('en')} of ` +
        `${layout.size.toLocaleString('en')} parameters fit the network. Use the network that the weights were trained ` +
        'with: omit its options, or import a state_dict first with npm run import.',
    )
  }
  console.log(
    `Starting from ${pretrained.description}: took ${taken.toLocaleString('en')} of ` +
      `${layout.size.toLocaleString('en')} parameters. ` +
      (initialized.length === 0 ? '' : `Initialized anew: ${summarize(initialized)}. `) +
      (takenClasses === null
        ? ''
        : `Class embeddings: ${takenClasses.length} of ${classes.length} taken, the others are new.`),
  )
  return initialState(parameters)
}
