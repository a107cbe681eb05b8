import { join } from 'node:path'
import { createSchedule, readScheduler, UserError, type VarianceType, varianceTypes } from '@ddpm/shared'
import { choice, wholeNumber } from '@ddpm/shared/cli'
import * as Plot from '@observablehq/plot'
import { Command } from 'commander'
import { digestOf, keyOf, readCached, writeCached } from '../evaluation/cache.ts'
import { type Evaluated, folderOf, openEvaluated, type Split, splits } from '../evaluation/images.ts'
import {
  type BoundRequest,
  type BoundState,
  type BoundSummary,
  emptyBound,
  measureBound,
  summarize,
} from '../evaluation/likelihood.ts'
import { type OpenedModel, openModel, type WeightsKind } from '../export/inference.ts'
import { chartSvg } from '../image/chart.ts'
import { writeAtomically } from '../support/files.ts'
import { working } from './terminal/long-task.ts'

interface Options {
  data?: string
  split?: Split
  images?: number
  terms: number | 'all'
  variance?: VarianceType
  class: boolean
  weights: WeightsKind
  seed: number
  out?: string
}

export const likelihoodCommand = new Command('likelihood')
  .description(
    'Bits per dimension of pictures by the variational bound, term by term, with a plot over t. Ctrl+C keeps what is ' +
      'done; the same command goes on.',
  )
  .argument('<model>', "a run's folder, one of its checkpoints, or an exported model")
  .option('--data <source>', "pictures, as train takes them (default: the run's own)")
  .option(
    '--split <name>',
    `${splits.join(', ')} (default: validation of the run's own, all of --data)`,
    choice(splits),
  )
  .option('--pictures <n>', 'how many, chosen at random (default: all)', wholeNumber)
  .option(
    '--terms <n>',
    'timesteps asked per picture, one in each of as many strata; all for the exact sum',
    (text) => (text === 'all' ? text : wholeNumber(text)),
    10,
  )
  .option('--variance <kind>', `${varianceTypes.join(', ')} (default: the model's)`, choice(varianceTypes))
  .option('--no-class', 'do not tell the network the class of each picture')
  .option('--weights <kind>', 'ema (averaged) or raw', choice(['ema', 'raw']), 'ema')
  .option('--seed <n>', 'of pictures, timesteps and noise', wholeNumber, 0)
  .option('--out <folder>', 'where figures and plot go (default: MODEL/evaluation)')
  .addHelpText(
    'after',
    `
Examples:
  npm run evaluate -- likelihood runs/mnist --data data/mnist/t10k-images-idx3-ubyte.gz
  npm run evaluate -- likelihood runs/mnist --pictures 100 --terms all     the exact sum
  npm run evaluate -- likelihood runs/mnist --variance fixedLarge`,
  )
  .action(main)

async function main(path: string, options: Options): Promise<void> {
  const model = await openModel(path, options.weights)
  const scheduler = readScheduler(model.facts.scheduler)
  const schedule = createSchedule(scheduler.schedule)
  const evaluated = await openEvaluated(path, model.facts, options, 'validation')
  const { dataset } = evaluated
  const terms = options.terms === 'all' ? schedule.timesteps : options.terms
  if (terms < 2 || terms > schedule.timesteps) {
    throw new UserError(`Found ${terms} terms; expected from 2 to ${schedule.timesteps}, or all.`)
  }
  const images = options.images ?? dataset.count
  if (images < 1 || images > dataset.count) {
    throw new UserError(
      `Found ${images} pictures; expected from 1 to ${dataset.count}, which ${evaluated.source} has.`,
    )
  }
  const labels = labelsFor(model, evaluated, options.class)
  const varianceType = options.variance ?? scheduler.varianceType
  if (varianceType === 'learnedRange' && scheduler.varianceType !== 'learnedRange') {
    throw new UserError(
      `Found --variance learnedRange; ${path} has learned none. Train with --variance-type learnedRange, or choose ` +
        'fixedSmall or fixedLarge.',
    )
  }
  const settings = {
    model: model.digest,
    weights: options.weights,
    data: evaluated.source,
    split: evaluated.split,
    dataset: digestOf(dataset.pixels),
    images,
    classes: labels.told,
    variance: varianceType,
    terms,
    seed: options.seed,
  }
  const folder = options.out ?? join(folderOf(path), 'evaluation')
  const file = join(folder, `likelihood-${keyOf(settings)}.json`)
  const state = readCached<{ state: BoundState }>(file)?.state ?? emptyBound(schedule.timesteps)
  console.log(
    `${model.description}; variances ${varianceType}\n` +
      `${images} of ${dataset.count} pictures of ${evaluated.source} (${evaluated.split}), ${labels.told}; ` +
      `${terms} of ${schedule.timesteps} timesteps each, seed ${options.seed}`,
  )

  const write = () => writeCached(file, { settings, ...summarize(state), state })
  const request = {
    predictionType: scheduler.predictionType,
    // In place of a threshold that moves with the picture stands the range of the data.
    clamp: typeof scheduler.clamp === 'object' && scheduler.clamp !== null ? 1 : scheduler.clamp,
    varianceType,
    schedule,
    network: model.network,
    dataset,
    labels: labels.values,
    images,
    terms,
    seed: options.seed,
  }
  const stopped = await measure(request, state, write)
  await model.dispose()
  if (stopped !== null) {
    console.log(
      `Stopped at ${state.totals.length} of ${images} pictures, which are kept. The same command goes on.`,
    )
    process.exitCode = stopped
    return
  }
  const summary = summarize(state)
  const plot = file.replace(/json$/, 'svg')
  writeAtomically(plot, plotOf(summary))
  report(summary)
  if (labels.told === told) {
    const { classes, shape } = model.facts
    const more = Math.log2(classes.length) / (shape.channels * shape.height * shape.width)
    console.log(`  Of pictures whose class is not known, each as likely: at most ${more.toFixed(4)} more`)
  }
  console.log(`Every term is in ${file}, their plot in ${plot}`)
}

const told = 'each told its class'

/** The labels to tell the network, and in words whether it is told any. */
function labelsFor(
  { facts }: OpenedModel,
  { dataset, source }: Evaluated,
  wanted: boolean,
): { values: ArrayLike<number> | null; told: string } {
  const { classes } = facts
  if (classes.length === 0) return { values: null, told: 'no classes' }
  if (!wanted || dataset.labels === null) {
    return { values: new Uint16Array(dataset.count).fill(classes.length), told: 'classes not told' }
  }
  if (dataset.classes.join('\n') !== classes.join('\n')) {
    throw new UserError(
      `The classes of ${source} are ${dataset.classes.join(', ')}; the model knows ${classes.join(', ')}. ` +
        'Give pictures with the same classes, or --no-class.',
    )
  }
  return { values: dataset.labels, told }
}

/** How often what is done is written down, in milliseconds. */
const interval = 15_000

/** @returns the exit code where it was stopped, null where all is done */
async function measure(request: BoundRequest, state: BoundState, write: () => void): Promise<number | null> {
  let written = performance.now()
  const { stopped } = await working('Measuring', request.images, (report) =>
    measureBound(request, state, async (done) => {
      if (performance.now() - written > interval) {
        write()
        written = performance.now()
      }
      return await report(done)
    }),
  )
  write()
  return state.totals.length < request.images ? stopped : null
}

/** Every term over t, which is shown from 1 as in the paper, so that L_0 is L_{t−1} at t = 1. */
function plotOf({ terms }: BoundSummary): string {
  const points = terms.flatMap((bits, t) => (bits !== null && bits > 0 ? [{ t: t + 1, bits }] : []))
  return chartSvg({
    width: 640,
    height: 360,
    grid: true,
    x: { type: 'log', label: 't', ticks: 5, tickFormat: 'd' },
    y: { type: 'log', label: 'L_{t−1}, bits/dim', tickFormat: '.0e' },
    marks: [Plot.dot(points, { x: 't', y: 'bits', r: 1.5, fill: 'steelblue' })],
  })
}

function report({ total, prior, diffusion, reconstruction, images }: BoundSummary): void {
  const error =
    total.standardError === null
      ? ''
      : ` ± ${total.standardError.toFixed(4)} (standard error over ${images} pictures)`
  console.log(
    `${total.mean.toFixed(4)} bits/dim${error}\n` +
      `  L_T ${prior.toExponential(2)}, the terms between ${diffusion.toFixed(4)}, L_0 ${reconstruction.toFixed(4)}`,
  )
}
