import { progressBar } from '@ddpm/shared/cli'
import type { Dataset, ImageSource, Split } from '../../data/dataset/dataset.ts'
import { parseSize } from '../../data/dataset/size.ts'
import { openData } from '../../data/open.ts'
import type { EngineRequest } from '../../engines/choose.ts'
import { createTables, initialize } from '../../network/parameters.ts'
import type { Progress } from '../../run/checkpoint.ts'
import { validateRecipe } from '../../run/recipe-reader.ts'
import type { Recipe } from '../../run/recipes.ts'
import { dataOptionsOf, layoutOfRun, networkOf, type RunConfig } from '../../run/run.ts'
import { initialState, type TrainingState } from '../../step/engine.ts'
import { formatDuration } from '../../support/duration.ts'

/** A run that is ready to train: new, or resumed from its latest checkpoint. */
export interface PreparedRun {
  readonly folder: string
  /** Whether the run is new: its folder is not created yet. */
  readonly isNew: boolean
  readonly config: RunConfig
  readonly images: Split
  /** The images that the run was started with. null: a built-in set, or a run of an earlier version */
  readonly imageList: readonly ImageSource[] | null
  /** Engine and device to train on. */
  readonly engineRequest: EngineRequest
  readonly progress: Progress
  /** State to start from. The engine takes it over: its arrays may be empty afterwards. */
  readonly state: TrainingState
  readonly tables: ReadonlyMap<string, Float32Array>
  /** The checkpoint to resume from. */
  readonly checkpoint?: string
}

/**
 * Checks a recipe before any image is read, with the smallest images that fit the network.
 * @throws UserError if it cannot be trained
 */
export function assertTrainable(recipe: Recipe): void {
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
export function initialProgress(config: RunConfig): Pick<PreparedRun, 'progress' | 'state' | 'tables'> {
  const layout = layoutOfRun(config)
  return {
    progress: { step: 0, seconds: 0, loss: null, validationLoss: null },
    state: initialState(initialize(layout, config.recipe.seed, config.recipe.initialization)),
    tables: createTables(layout),
  }
}

/** Reads the images of a recipe, with a progress bar. */
export async function readImages(recipe: Recipe, cache = process.availableMemory() / 4): Promise<Dataset> {
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

/** Returns the properties of the images that config.json stores. */
export function describeImages(
  { name, count, channels, height, width, classes }: Dataset,
  { conditional }: Recipe,
): RunConfig['dataset'] {
  return { name, count, channels, height, width, classes: conditional ? classes : [] }
}
