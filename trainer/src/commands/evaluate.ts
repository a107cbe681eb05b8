import { join } from 'node:path'
import {
  defaultSampling,
  evaluationsOf,
  planFor,
  type SamplerOptions,
  samplers,
  timestepSpacings,
  UserError,
} from '@ddpm/shared'
import { choice, realNumber, runCommand, wholeNumber } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { type Dataset, toSigned } from '../data/dataset.ts'
import { keyOf, writeCached } from '../evaluation/cache.ts'
import { type Extractor, openExtractor } from '../evaluation/extractor.ts'
import { factorDistances, readShapes } from '../evaluation/factors.ts'
import { type SampleOptions, sampleCached } from '../evaluation/generated.ts'
import {
  chooseImages,
  countOf,
  type Evaluated,
  folderOf,
  type Images,
  openEvaluated,
  type Split,
  splits,
} from '../evaluation/images.ts'
import { classifierFolder, classifierOf, labelledOf } from '../evaluation/labelled.ts'
import { compare, compareDefaults } from '../evaluation/metrics/compare.ts'
import { nearestRows } from '../evaluation/metrics/neighbours.ts'
import { formatReport, type QualityReport } from '../evaluation/report.ts'
import { type OpenedModel, openModel, type WeightsKind } from '../export/inference.ts'
import { gridPng } from '../image/grid.ts'
import { writeAtomically } from '../support/files.ts'
import { likelihoodCommand } from './likelihood.ts'
import { working } from './terminal/long-task.ts'

interface Options {
  data?: string
  split?: Split
  count: number
  reference: number
  sampler?: SamplerOptions['sampler']
  steps?: number
  spacing?: SamplerOptions['spacing']
  eta?: number
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

const numbers = (text: string) => text.split(',').map(realNumber)

const command = new Command('npm run evaluate --')
  .description(
    'Holds drawn pictures to real ones: FID, KID, precision, recall, density and coverage, with error bars; of the ' +
      'built-in shapes also how many are clean and how their factors are distributed. Ctrl+C keeps what is drawn; the ' +
      'same command goes on.',
  )
  .argument('<model>', "a run's folder, one of its checkpoints, or an exported model")
  .option('--data <source>', "real pictures, as train takes them (default: the run's own)")
  .option(
    '--split <name>',
    `${splits.join(', ')} (default: train of the run's own, all of --data)`,
    choice(splits),
  )
  .option('--count <n>', 'pictures to draw', wholeNumber, 2000)
  .option('--reference <n>', 'real pictures to hold them to, chosen at random', wholeNumber, 10_000)
  .option('--sampler <name>', `${samplers.join(', ')} (default: the model's)`, choice(samplers))
  .option('--steps <n>', "steps of the sampler (default: the model's)", wholeNumber)
  .option('--spacing <name>', timestepSpacings.join(', '), choice(timestepSpacings))
  .option('--eta <η>', 'DDIM: 0 is deterministic, 1 as noisy as DDPM', realNumber)
  .option('--guidance <scale>', "classifier-free guidance, 1 for none (default: the model's)", realNumber)
  .option('--class <name>', 'draw only this class')
  .option('--seed <n>', 'of the drawn pictures, the choice of real ones and the bootstrap', wholeNumber, 0)
  .option(
    '--weights <kind>',
    'ema (averaged) or raw; exported models have one kind',
    choice(['ema', 'raw']),
    'ema',
  )
  .option(
    '--features <file.onnx>',
    'a feature extractor (default: a classifier trained here on the labelled pictures)',
  )
  .option('--features-size <pixels>', 'side of the pictures that it takes', wholeNumber, 299)
  .option('--features-mean <list>', 'subtracted from 0 … 1, one number or one per channel', numbers, [0.5])
  .option('--features-std <list>', 'what that is divided by', numbers, [0.5])
  .option('--features-output <name>', 'its output (default: the first)')
  .option(
    '--nearest <k>',
    'k of precision, recall, density and coverage',
    wholeNumber,
    compareDefaults.neighbours,
  )
  .option(
    '--bootstrap <n>',
    'replicates for the error bars, 0 for none',
    wholeNumber,
    compareDefaults.replicates,
  )
  .option(
    '--neighbours [n]',
    'instead, a PNG of n (16) drawn pictures with the nearest training pictures below: by pixels, by features',
    wholeNumber,
  )
  .option('--out <folder>', 'where everything goes that is kept (default: MODEL/evaluation)')
  // What stands behind `likelihood` is its own, also where both have an option of the same name.
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
    if (value === 0) throw new UserError(`Found --${name} 0; expected a whole number of at least 1.`)
  }
  const model = await openModel(path, options.weights)
  const evaluated = await openEvaluated(path, model.facts, options, 'train')
  const folder = options.out ?? join(folderOf(path), 'evaluation')
  const extractor = await extractorFor(path, options, evaluated.dataset)
  try {
    if (options.neighbours === undefined) await score({ model, evaluated, folder, extractor, options })
    else await showNeighbours({ model, evaluated, folder, extractor, options })
  } finally {
    await extractor.dispose()
    await model.dispose()
  }
}

interface Evaluation {
  readonly model: OpenedModel
  readonly evaluated: Evaluated
  readonly folder: string
  readonly extractor: Extractor
  readonly options: Options
}

/** The extractor that was named, or a classifier of the run's own pictures, of whichever split is held to. */
async function extractorFor(path: string, options: Options, dataset: Dataset): Promise<Extractor> {
  const {
    features,
    featuresSize: size,
    featuresMean: mean,
    featuresStd: std,
    featuresOutput = null,
  } = options
  if (features !== undefined) return openExtractor(features, { size, mean, std }, featuresOutput)
  const labelled = await labelledOf(path, dataset)
  const { value } = await working('Training a classifier, %', 100, (report) =>
    classifierOf(labelled, classifierFolder(path), async (step, steps) => {
      if (await report((100 * step) / steps))
        throw new UserError('Stopped; the classifier will be trained from the start.')
    }),
  )
  return value
}

function drawingOf({
  sampler,
  steps,
  spacing,
  eta,
  guidance,
  class: className,
  seed,
}: Options): SampleOptions {
  return {
    seed,
    ...(sampler !== undefined && { sampler }),
    ...(steps !== undefined && { steps }),
    ...(spacing !== undefined && { spacing }),
    ...(eta !== undefined && { eta }),
    ...(guidance !== undefined && { guidance }),
    ...(className !== undefined && { className }),
  }
}

/** Draws, or takes what was drawn before; null where it was stopped. */
async function drawn({ model, folder, options }: Evaluation, count: number): Promise<Images | null> {
  const { value: pixels, stopped } = await working('Drawing', count, (report) =>
    sampleCached(folder, model, drawingOf(options), count, report),
  )
  const images = { ...model.facts.shape, pixels }
  if (countOf(images) === count) return images
  console.log(`Stopped at ${countOf(images)} of ${count} pictures, which are kept. The same command goes on.`)
  process.exitCode = stopped ?? 1
  return null
}

async function score(evaluation: Evaluation): Promise<void> {
  const { model, evaluated, folder, extractor, options } = evaluation
  const { count, seed, nearest, bootstrap: replicates } = options
  const { dataset, source, split } = evaluated
  const reference = Math.min(options.reference, dataset.count)
  if (Math.min(count, reference) <= nearest) {
    throw new UserError(
      `Found ${count} pictures to draw and ${reference} to hold them to; expected more than ${nearest} of either (--nearest).`,
    )
  }
  const generated = await drawn(evaluation, count)
  if (generated === null) return
  console.log(`Comparing ${count} drawn with ${reference} real pictures …`)
  const real = await extractor.extract(chooseImages(dataset, reference, seed))
  const features = await extractor.extract(generated)
  const { facts } = model
  const report: QualityReport = {
    model: { description: model.description, weights: options.weights, digest: model.digest },
    drawn: {
      count,
      sampler: options.sampler ?? facts.sampling.sampler,
      steps: options.steps ?? facts.sampling.steps,
      evaluations: evaluationsOf(planFor(facts, drawingOf(options))),
      spacing: options.spacing ?? facts.sampling.spacing,
      eta: options.eta ?? defaultSampling.eta,
      guidance: options.guidance ?? facts.sampling.guidance,
      className: options.class ?? null,
      seed,
    },
    reference: { source, split, count: reference, of: dataset.count },
    features: { description: extractor.description, dims: features.dims, digest: extractor.digest },
    neighbours: nearest,
    replicates,
    scores: compare(real, features, { neighbours: nearest, replicates, seed }),
    ...(dataset.name === 'shapes' && { shapes: await shapesIn(generated, dataset, seed) }),
  }
  const { scores, shapes, ...settings } = report
  const path = join(folder, `quality-${keyOf(settings)}.json`)
  writeCached(path, report)
  console.log(`${formatReport(report)}\nAll of it is in ${path}`)
}

/** Figures of the data that the drawn ones are held to. */
const readFigures = 1000

async function shapesIn(
  generated: Images,
  dataset: Dataset,
  seed: number,
): Promise<NonNullable<QualityReport['shapes']>> {
  const read = async (images: Images, whose: string) => {
    const { value } = await working(`Reading ${whose} figures`, countOf(images), (report) =>
      readShapes(images.pixels, async (done) => {
        if (await report(done)) throw new UserError('Stopped. What was drawn is kept.')
      }),
    )
    return value
  }
  const { shapes, rejected } = await read(generated, 'drawn')
  const own = await read(chooseImages(dataset, readFigures, seed), 'real')
  const factors = shapes.length === 0 ? [] : factorDistances(own.shapes, shapes, seed)
  return { valid: shapes.length, rejected, factors }
}

/** Drawn pictures, and below each the nearest of the real ones: by pixels, then by features. */
async function showNeighbours(evaluation: Evaluation): Promise<void> {
  const { evaluated, folder, extractor, options } = evaluation
  const { dataset, source, split } = evaluated
  const count = options.neighbours === true ? 16 : options.neighbours!
  const images = await drawn(evaluation, count)
  if (images === null) return
  console.log(`Looking through ${dataset.count} pictures of ${source} (${split}) …`)
  const size = images.pixels.length / count
  const pixelsOf = (pixels: Uint8Array) => ({
    count: pixels.length / size,
    dims: size,
    values: Float32Array.from(pixels, toSigned),
  })
  const byPixels = nearestRows(pixelsOf(images.pixels), pixelsOf(dataset.pixels))
  const byFeatures = nearestRows(await extractor.extract(images), await extractor.extract(dataset))
  const found = [...byPixels, ...byFeatures].flatMap(({ index }) => [
    ...dataset.pixels.subarray(index * size, (index + 1) * size),
  ])
  const path = join(folder, 'neighbours.png')
  const values = Float32Array.from([...images.pixels, ...found], toSigned)
  writeAtomically(path, await gridPng(values, images, { columns: count }))
  const distances = (neighbours: typeof byPixels) =>
    neighbours.map(({ distance }) => (distance / Math.sqrt(size)).toFixed(3)).join(' ')
  console.log(
    `Root mean square differences to the nearest by pixels, −1 … 1:\n  ${distances(byPixels)}\n` +
      `First row: drawn; second: nearest by pixels; third: nearest by features of ${extractor.description}.\n${path}`,
  )
}

await runCommand(command)
