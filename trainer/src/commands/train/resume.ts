import { UserError } from '@ddpm/shared'
import { quote } from '@ddpm/shared/cli'
import { split } from '../../data/dataset/dataset.ts'
import { listCheckpoints } from '../../run/checkpoint.ts'
import { describeChanges, listImagesOf, readImageList } from '../../run/image-list.ts'
import { lockRun } from '../../run/lock.ts'
import { differences, openRecipe } from '../../run/recipe-reader.ts'
import type { Recipe } from '../../run/recipes.ts'
import { openCheckpoint, openRun, type RunConfig, writeRunConfig } from '../../run/run.ts'
import { removeTemporaryFiles } from '../../support/files.ts'
import { learningRateAt } from '../../training/loop.ts'
import { flag, type Options, readOverrides } from './options.ts'
import {
  assertTrainable,
  describeImages,
  initialProgress,
  type PreparedRun,
  readImages,
} from './prepared-run.ts'

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

/**
 * Prepares a run to continue from its newest undamaged checkpoint.
 * @throws UserError if the options, the images or the run are invalid
 */
export async function prepareResumed(folder: string, options: Options): Promise<PreparedRun> {
  const { config: saved } = openRun(folder)
  const fineTuning = `To train these weights on other images: npm run train -- --from ${quote(folder)} --data <images>`
  if (saved.dataset.count === 0)
    throw new UserError(`${folder} was imported and has no images to resume training with. ${fineTuning}`)
  if (options.dryRun)
    throw new UserError(
      'Conflicting --dry-run and --resume: a dry run inspects the images of a new run. Remove one of them.',
    )
  const overrides = readOverrides(options)
  if (options.time !== undefined)
    throw new UserError(
      'Conflicting --time and --resume: a run keeps the number of steps that it was started with. Use --steps to change it.',
    )
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
  const { name: _, ...actual } = describeImages(dataset, recipe)
  const { name, ...expected } = saved.dataset
  const imageList = readImageList(folder)
  const changes = imageList && describeChanges(imageList, listImagesOf(dataset))
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new UserError(
      `The images of ${recipe.data} differ from those that ${folder} was started with` +
        `${countDifference(actual.count, expected.count)}:\n` +
        `  expected ${JSON.stringify(expected)}\n  got      ${JSON.stringify(actual)}\n${changes === null ? '' : `  ${changes}\n`}` +
        `Restore the images, or pass their location with --data. ${fineTuning}`,
    )
  }
  if (changes !== null)
    console.warn(
      `The images of ${recipe.data} differ from those that ${folder} was started with: ${changes}. Training continues with ` +
        `the present images. ${fineTuning}`,
    )
  const config: RunConfig = { ...saved, recipe, dataset: { name, ...expected } }
  const { engine, device } = options
  const run = {
    folder,
    isNew: false,
    engineRequest: { engine, device },
    config,
    images: split(dataset, recipe.validation, recipe.seed),
    imageList,
  }
  if (listCheckpoints(folder).length === 0) {
    if (recipe.from !== null)
      throw new UserError(
        `${folder} has no checkpoint yet. Remove the folder and start again with --from ${quote(recipe.from)}.`,
      )
    console.log(`${folder} has no checkpoint yet. It starts again at step 0.`)
    return { ...run, ...initialProgress(config) }
  }
  const { checkpoint, path } = openCheckpoint(folder)
  writeRunConfig(folder, config)
  warnOfJump(saved.recipe, recipe, checkpoint.progress.step)
  return { ...run, ...checkpoint, checkpoint: path }
}

/** Describes a difference in the number of images, for example ": 20 more". */
function countDifference(actual: number, expected: number): string {
  if (actual === expected) return ''
  return `: ${Math.abs(actual - expected).toLocaleString('en')} ${actual > expected ? 'more' : 'fewer'}`
}

/** Warns if another number of steps changes the learning rate of the next step. */
function warnOfJump(saved: Recipe, recipe: Recipe, step: number): void {
  const [before, after] = [learningRateAt(saved, step), learningRateAt(recipe, step)]
  if (Math.abs(after - before) < 0.01 * recipe.learningRate) return
  console.warn(
    `With --steps ${recipe.steps} the learning rate continues at ${after.toPrecision(2)} instead of ` +
      `${before.toPrecision(2)}, because the cosine schedule now ends at step ${recipe.steps} instead of ${saved.steps}. ` +
      'To extend a run without a jump, start it with --learning-rate-schedule constant.',
  )
}
