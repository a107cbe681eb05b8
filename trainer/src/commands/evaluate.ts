import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { parseChoice, parseNumber, parseWholeNumber, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import {
  type ParsedShapes,
  parseShapes,
  type ShapeStatistics,
  shapeStatistics,
} from '../evaluation/factors.ts'
import {
  classifierFolder,
  openClassifierData,
  openClassifierExtractor,
} from '../evaluation/features/classifier.ts'
import type { Extractor } from '../evaluation/features/extractor.ts'
import { openOnnxExtractor } from '../evaluation/features/onnx-extractor.ts'
import { describeStop, type SampleOptions, sampleCached } from '../evaluation/inputs/generated.ts'
import {
  countImages,
  type EvaluationSet,
  type Images,
  modelFolder,
  openEvaluationSet,
  type Split,
  splits,
} from '../evaluation/inputs/images.ts'
import { compareDefaults } from '../evaluation/metrics/compare.ts'
import { findNearestImages } from '../evaluation/nearest.ts'
import {
  checkCounts,
  measureQuality,
  type QualityReport,
  type QualityRequest,
  saveReport,
  selectRealShapes,
} from '../evaluation/quality.ts'
import { formatReport } from '../evaluation/report.ts'
import type { WeightsKind } from '../inference/graph.ts'
import { type OpenedModel, openModel } from '../inference/model.ts'
import { writeAtomically } from '../support/files.ts'
import { likelihoodCommand } from './likelihood.ts'
import { runLongTask } from './terminal/long-task.ts'
import { addSamplerOptions, type SamplerFlags, samplerOptionsOf } from './terminal/sampler-options.ts'

interface Options extends SamplerFlags {
  data?: string
  split?: Split
  count: number
  reference: number
  guidance?: number
  class?: string
  seed: number
  weights: WeightsKind
  features?: string
  featuresSize: number
  featuresMean: number[]
  featuresStd: number[]
  featuresOutput?: string
  nearest: number
  bootstrap: number
  neighbours?: number | true
  out?: string
}

const numberList = (text: string) => text.split(',').map(parseNumber)

const command = addSamplerOptions(
  new Command('npm run evaluate --')
    .description(
      'Compares generated images with real ones: FID, KID, precision, recall, density and coverage, with error bars. For ' +
        'the built-in shapes it also counts the images that show one clean figure and compares the distributions of ' +
        'figure, colour, position and size. After Ctrl+C, run the same command again to resume.',
    )
    .argument('<model>', "a run's folder, one of its checkpoints, or an exported model")
    .option('--data <source>', "real images, as for train --data (default: the run's own)")
    .option(
      '--split <name>',
      `${splits.join(', ')} (default: train of the run's own images, all of --data)`,
      parseChoice(splits),
    )
    .option('--count <n>', 'number of images to generate', parseWholeNumber, 2000)
    .option('--reference <n>', 'max number of real images, selected at random', parseWholeNumber, 10_000),
)
  .option('--guidance <scale>', "classifier-free guidance, 1 for none (default: the model's)", parseNumber)
  .option('--class <name>', 'generate only this class')
  .option(
    '--seed <n>',
    'seed of the samples, the selection of real images and the bootstrap',
    parseWholeNumber,
    0,
  )
  .option(
    '--weights <kind>',
    'ema (averaged) or raw; exported models have one kind',
    parseChoice(['ema', 'raw']),
    'ema',
  )
  .option(
    '--features <file.onnx>',
    'feature extractor (default: a classifier that is trained on the labelled images)',
  )
  .option(
    '--features-size <pixels>',
    'width and height of the input images of the extractor',
    parseWholeNumber,
    299,
  )
  .option(
    '--features-mean <list>',
    'mean to subtract from pixel values in 0 … 1: one number, or one per channel',
    numberList,
    [0.5],
  )
  .option(
    '--features-std <list>',
    'standard deviation to divide by after that: one number, or one per channel',
    numberList,
    [0.5],
  )
  .option('--features-output <name>', 'output of the extractor (default: the first)')
  .option(
    '--nearest <k>',
    'number of nearest neighbours (k) for precision, recall, density and coverage',
    parseWholeNumber,
    compareDefaults.neighbours,
  )
  .option(
    '--bootstrap <n>',
    'number of replicates for the error bars, 0 for none',
    parseWholeNumber,
    compareDefaults.replicates,
  )
  .option(
    '--neighbours [n]',
    'instead of scores, write a PNG of n samples (default: 16) above their nearest real images, by pixels and by features',
    parseWholeNumber,
  )
  .option('--out <folder>', 'output folder, also for cached samples (default: MODEL/evaluation)')
  // Options after `likelihood` belong to that command, even if both commands have an option of the same name.
  .enablePositionalOptions()
  .addCommand(likelihoodCommand)
  .addHelpText(
    'after',
    `
Examples:
  npm run evaluate -- runs/mnist
  npm run evaluate -- runs/mnist --sampler ddim --steps 20 --guidance 1 --count 10000
  npm run evaluate -- runs/mine --features inception.onnx --features-size 299
  npm run evaluate -- runs/mnist --neighbours
  npm run evaluate -- likelihood --help`,
  )
  .action(main)

async function main(path: string, options: Options): Promise<void> {
  for (const [name, value] of Object.entries({ nearest: options.nearest, neighbours: options.neighbours })) {
    if (value === 0) throw new UserError(`Invalid --${name} 0: expected a positive integer.`)
  }
  const sampling = samplingOf(options)
  const model = await openModel(path, options.weights)
  const set = await openEvaluationSet(path, model.info, options, 'train')
  const folder = options.out ?? join(modelFolder(path), 'evaluation')
  const extractor = await openExtractor(path, options, set)
  try {
    const evaluation = { model, set, folder, extractor, sampling, options }
    if (options.neighbours === undefined) await score(evaluation)
    else await showNeighbours(evaluation, options.neighbours === true ? 16 : options.neighbours)
  } finally {
    await extractor.dispose()
    await model.dispose()
  }
}

interface Evaluation {
  readonly model: OpenedModel
  readonly set: EvaluationSet
  readonly folder: string
  readonly extractor: Extractor
  readonly sampling: SampleOptions
  readonly options: Options
}

function samplingOf(options: Options): SampleOptions {
  const { guidance, class: className, seed } = options
  return {
    ...samplerOptionsOf(options),
    seed,
    ...(guidance !== undefined && { guidance }),
    ...(className !== undefined && { className }),
  }
}

/**
 * Opens the feature extractor of --features. Default: a classifier, see `openClassifierData`, which for a run does not depend
 * on the evaluated split.
 */
async function openExtractor(path: string, options: Options, { dataset }: EvaluationSet): Promise<Extractor> {
  const { features, featuresSize: size, featuresMean: mean, featuresStd: std, featuresOutput } = options
  if (features !== undefined) return openOnnxExtractor(features, { size, mean, std }, featuresOutput ?? null)
  const labelled = await openClassifierData(path, dataset)
  const { value } = await runLongTask('Training a classifier, %', 100, (report) =>
    openClassifierExtractor(labelled, classifierFolder(path), async (step, steps) => {
      if (await report((100 * step) / steps)) {
        throw new UserError(
          'Stopped. Run the same command again to train the classifier from its first step.',
        )
      }
    }),
  )
  return value
}

async function score(evaluation: Evaluation): Promise<void> {
  const { model, set, folder, extractor, sampling, options } = evaluation
  const request: QualityRequest = {
    model,
    weights: options.weights,
    set,
    extractor,
    sampling,
    count: options.count,
    reference: Math.min(options.reference, set.dataset.count),
    neighbours: options.nearest,
    replicates: options.bootstrap,
  }
  checkCounts(request)
  const generated = await generateImages(evaluation, options.count)
  if (generated === null) return
  console.log(`Comparing ${request.count} generated with ${request.reference} real images …`)
  const quality = await measureQuality(request, generated)
  const report: QualityReport = {
    ...quality,
    ...(set.dataset.name === 'shapes' && { shapes: await compareShapes(generated, set, options.seed) }),
  }
  const path = saveReport(folder, report)
  console.log(`${formatReport(report)}\nWrote the report to ${path}`)
}

/** Generates images or reads cached ones; null if stopped. */
async function generateImages(
  { model, folder, sampling }: Evaluation,
  count: number,
): Promise<Images | null> {
  const { value: images, stopped } = await runLongTask('Generating', count, (report) =>
    sampleCached(folder, model, sampling, count, report),
  )
  if (countImages(images) === count) return images
  console.log(describeStop(images, count))
  process.exitCode = stopped ?? 1
  return null
}

async function compareShapes(generated: Images, set: EvaluationSet, seed: number): Promise<ShapeStatistics> {
  const parse = async (images: Images, kind: string): Promise<ParsedShapes> => {
    const { value } = await runLongTask(`Parsing ${kind} figures`, countImages(images), (report) =>
      parseShapes(images.pixels, async (done) => {
        if (await report(done))
          throw new UserError(
            'Stopped. The generated images are saved. Run the same command again to resume.',
          )
      }),
    )
    return value
  }
  const parsed = await parse(generated, 'generated')
  return shapeStatistics(await parse(selectRealShapes(set, seed), 'real'), parsed, seed)
}

async function showNeighbours(evaluation: Evaluation, count: number): Promise<void> {
  const { set, folder, extractor } = evaluation
  const samples = await generateImages(evaluation, count)
  if (samples === null) return
  console.log(`Searching ${set.dataset.count} images of ${set.source} (${set.split}) …`)
  const { png, distances } = await findNearestImages(samples, set.dataset, extractor)
  const path = join(folder, 'neighbours.png')
  writeAtomically(path, png)
  console.log(
    'Root mean square difference to the nearest image by pixels, with values in −1 … 1:\n' +
      `  ${distances.map((distance) => distance.toFixed(3)).join(' ')}\n` +
      `Wrote ${path}: samples in the first row, their nearest images by pixels in the second, and those by features of ` +
      `${extractor.description} in the third.`,
  )
}

await runCommand(command)
