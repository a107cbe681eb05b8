import { join } from 'node:path'
import { varianceTypes } from '@ddpm/shared'
import { parseChoice, parseWholeNumber } from '@ddpm/shared/cli'
import { Command, Option } from 'commander'
import { cacheKey, readCached, writeCached } from '../evaluation/inputs/cache.ts'
import { modelFolder, openEvaluationSet, type Split, splits } from '../evaluation/inputs/images.ts'
import {
  type BoundRequest,
  type BoundState,
  emptyBound,
  measureBound,
  summarizeBound,
} from '../evaluation/likelihood.ts'
import { describeLikelihood, formatLikelihood, plotLikelihood } from '../evaluation/likelihood-report.ts'
import { type LikelihoodOptions, prepareLikelihood } from '../evaluation/likelihood-request.ts'
import { openModel } from '../inference/model.ts'
import { writeAtomically } from '../support/files.ts'
import { runLongTask } from './terminal/long-task.ts'

interface Options extends LikelihoodOptions {
  data?: string
  split?: Split
  /** Former name of --images. */
  pictures?: number
  out?: string
}

export const likelihoodCommand = new Command('likelihood')
  .description(
    'Measures the variational bound on the negative log-likelihood of images in bits per dimension, and plots its terms ' +
      'over the timesteps. After Ctrl+C, run the same command again to resume.',
  )
  .argument('<model>', "a run's folder, one of its checkpoints, or an exported model")
  .option('--data <source>', "images, as for train --data (default: the run's own)")
  .option(
    '--split <name>',
    `${splits.join(', ')} (default: validation of the run's own images, all of --data)`,
    parseChoice(splits),
  )
  .option('--images <n>', 'number of images, selected at random (default: all)', parseWholeNumber)
  .addOption(new Option('--pictures <n>').argParser(parseWholeNumber).hideHelp())
  .option(
    '--terms <n>',
    'number of timesteps evaluated per image, one at random in each of n intervals; all computes the exact sum',
    (text) => (text === 'all' ? text : parseWholeNumber(text)),
    10,
  )
  .option(
    '--variance <kind>',
    `${varianceTypes.join(', ')} (default: the model's)`,
    parseChoice(varianceTypes),
  )
  .option('--no-class', 'do not condition the model on the class of each image')
  .option('--weights <kind>', 'ema (averaged) or raw', parseChoice(['ema', 'raw']), 'ema')
  .option('--seed <n>', 'seed of the images, timesteps and noise', parseWholeNumber, 0)
  .option('--out <folder>', 'output folder for the values and the plot (default: MODEL/evaluation)')
  .addHelpText(
    'after',
    `
Examples:
  npm run evaluate -- likelihood runs/mnist --data data/mnist/t10k-images-idx3-ubyte.gz
  npm run evaluate -- likelihood runs/mnist --images 100 --terms all     the exact sum
  npm run evaluate -- likelihood runs/mnist --variance fixedLarge`,
  )
  .action(main)

async function main(path: string, { pictures, ...options }: Options): Promise<void> {
  const model = await openModel(path, options.weights)
  const set = await openEvaluationSet(path, model.info, options, 'validation')
  const prepared = prepareLikelihood(path, model, set, { ...options, images: options.images ?? pictures })
  const { request, settings, conditioning } = prepared
  const folder = options.out ?? join(modelFolder(path), 'evaluation')
  const file = join(folder, `likelihood-${cacheKey(settings)}.json`)
  const state = readCached<{ state: BoundState }>(file)?.state ?? emptyBound(request.schedule.timesteps)
  console.log(describeLikelihood(model, set, prepared))

  const save = () => writeCached(file, { settings, ...summarizeBound(state), state })
  const stopped = await measure(request, state, save)
  await model.dispose()
  if (stopped !== null) {
    console.log(
      `Stopped after ${state.totals.length} of ${request.images} images, which are saved. ` +
        'Run the same command again to resume.',
    )
    process.exitCode = stopped
    return
  }
  const summary = summarizeBound(state)
  const plot = file.replace(/json$/, 'svg')
  writeAtomically(plot, plotLikelihood(summary))
  console.log(`${formatLikelihood(summary, conditioning, model)}\nWrote all terms to ${file} and ${plot}`)
}

/** Min time between two saves, in milliseconds. */
const saveInterval = 15_000

/** @returns the exit code if stopped, null if complete */
async function measure(request: BoundRequest, state: BoundState, save: () => void): Promise<number | null> {
  let lastSave = performance.now()
  const { stopped } = await runLongTask('Measuring', request.images, (report) =>
    measureBound(request, state, async (done) => {
      if (performance.now() - lastSave > saveInterval) {
        save()
        lastSave = performance.now()
      }
      return await report(done)
    }),
  )
  save()
  return state.totals.length < request.images ? stopped : null
}
