import { join } from 'node:path'
import {
  evaluationsOf,
  planFor,
  type Sampler,
  samplers,
  type TimestepSpacing,
  timestepSpacings,
  UserError,
} from '@ddpm/shared'
import { choice, realNumber, runCommand, wholeNumber } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { working } from '../trainer/src/commands/terminal/long-task.ts'
import { keyOf, readCached, writeCached } from '../trainer/src/evaluation/cache.ts'
import type { Extractor } from '../trainer/src/evaluation/extractor.ts'
import { sampleCached } from '../trainer/src/evaluation/generated.ts'
import { chooseImages, countOf, folderOf, openEvaluated } from '../trainer/src/evaluation/images.ts'
import { classifierFolder, classifierOf, labelledOf } from '../trainer/src/evaluation/labelled.ts'
import { compare, compareDefaults, type Scores } from '../trainer/src/evaluation/metrics/compare.ts'
import type { Features } from '../trainer/src/evaluation/metrics/features.ts'
import { formatScore } from '../trainer/src/evaluation/report.ts'
import { type OpenedModel, openModel } from '../trainer/src/export/inference.ts'
import { writeAtomically } from '../trainer/src/support/files.ts'
import { type Measured, qualityChart, qualityTable } from './quality-table.ts'

interface Options {
  data?: string
  out?: string
  samplers: Sampler[]
  steps?: number[]
  count: number
  reference: number
  seed: number
  guidance: number
  spacing: TimestepSpacing
}

const list =
  <T>(item: (text: string) => T) =>
  (text: string) =>
    text.split(',').map((part) => item(part.trim()))

const command = new Command('npm run bench:quality --')
  .description(
    'Measures the quality of every sampler over its steps: a table and a chart. Finished cells and generated images are ' +
      'cached: stop with Ctrl+C and resume with the same command.',
  )
  .argument('<model>', "a run's folder, a checkpoint, or an exported model, trained on labelled images")
  .option('--data <source>', 'real images, as for train (default: those of the run)')
  .option('--out <folder>', 'output folder (default: MODEL/evaluation)')
  .option('--samplers <list>', `of ${samplers.join(', ')}`, list(choice(samplers)), [...samplers])
  .option(
    '--steps <list>',
    'steps per sampler (default: 10,20,50; ddpm and ddim also 100,250; ddpm also 1000)',
    list(wholeNumber),
  )
  .option('--count <n>', 'samples per cell', wholeNumber, 2000)
  .option('--reference <n>', 'real images to compare with', wholeNumber, 10_000)
  .option('--seed <n>', 'seed of the samples and the bootstrap', wholeNumber, 0)
  .option('--guidance <scale>', 'classifier-free guidance', realNumber, 1)
  .option('--spacing <name>', timestepSpacings.join(', '), choice(timestepSpacings), 'trailing')
  .addHelpText(
    'after',
    `
Examples:
  npm run bench:quality -- runs/mnist
  npm run bench:quality -- edge/models/digits --data data/mnist --out runs/quality
  npm run bench:quality -- runs/mnist --samplers ddim,unipc --steps 10,20`,
  )
  .action(main)

interface Cell {
  readonly sampler: Sampler
  readonly steps: number
}

/** Returns the requested cells, the cheapest first. */
function cellsOf({ samplers: asked, steps }: Options): Cell[] {
  const stepsOf = (sampler: Sampler) =>
    steps ?? [
      ...[10, 20, 50],
      ...(sampler === 'ddpm' || sampler === 'ddim' ? [100, 250] : []),
      ...(sampler === 'ddpm' ? [1000] : []),
    ]
  return asked
    .flatMap((sampler) => stepsOf(sampler).map((steps) => ({ sampler, steps })))
    .sort((a, b) => a.steps - b.steps)
}

async function main(path: string, options: Options): Promise<void> {
  const { count, reference, seed, spacing, data, out } = options
  const model = await openModel(path, 'ema')
  const { dataset } = await openEvaluated(path, model.facts, { data }, 'train')
  if (dataset.count < reference + count) {
    throw new UserError(
      `Not enough real images: expected ${reference} to compare with and ${count} more for the row "real images", ` +
        `got ${dataset.count}. Lower --reference or --count.`,
    )
  }
  const folder = out ?? join(folderOf(path), 'evaluation')
  const { value: extractor } = await working('Training a classifier, %', 100, async (report) =>
    classifierOf(await labelledOf(path, dataset), out ?? classifierFolder(path), async (step, steps) => {
      if (await report((100 * step) / steps))
        throw new UserError('Stopped. The classifier will be trained again from the start.')
    }),
  )
  console.log(`${model.description}\nFeatures of ${extractor.description}`)
  const real = await extractor.extract(chooseImages(dataset, reference, seed))
  const others = chooseImages(dataset, count, seed, reference)
  const bench = { folder, model, extractor, real, options }
  const floor = await kept(bench, 'real', async () => compare(real, await extractor.extract(others)))

  const measured: Measured[] = []
  const write = () => {
    const title =
      `${count} samples per cell compared with ${reference} real images, guidance ${options.guidance}, ` +
      `${options.spacing} spacing, seed ${seed}; ± is half of ` +
      `the bootstrap's 95 % interval; features of ${extractor.description}; ${model.description}`
    writeAtomically(join(folder, 'quality-by-steps.md'), qualityTable(measured, floor!, title))
    writeAtomically(join(folder, 'quality-by-steps.svg'), qualityChart(measured, floor!))
  }
  for (const cell of cellsOf(options)) {
    const scores = await measure(bench, cell)
    if (scores === null) break
    measured.push({ ...cell, evaluations: evaluationsOf(planFor(model.facts, { ...cell, spacing })), scores })
    console.log(`${cell.sampler}, ${cell.steps} steps: FID ${formatScore(scores, 'fid')}`)
    write()
  }
  await extractor.dispose()
  await model.dispose()
  console.log(`${measured.length} cells in ${join(folder, 'quality-by-steps.md')} and .svg`)
}

interface Bench {
  readonly folder: string
  readonly model: OpenedModel
  readonly extractor: Extractor
  readonly real: Features
  readonly options: Options
}

/** Returns cached scores, or computes and caches them. */
async function kept(
  { folder, extractor, options: { count, reference, seed } }: Bench,
  what: unknown,
  compute: () => Promise<Scores | null>,
): Promise<Scores | null> {
  const settings = { what, features: extractor.digest, count, reference, seed, compareDefaults }
  const path = join(folder, `cell-${keyOf(settings)}.json`)
  const found = readCached<{ scores: Scores }>(path)?.scores
  if (found) return found
  const scores = await compute()
  if (scores !== null) writeCached(path, { settings, scores })
  return scores
}

/** Measures one cell; returns null if it was stopped. */
async function measure(bench: Bench, cell: Cell): Promise<Scores | null> {
  const { folder, model, extractor, real, options } = bench
  const { count, seed, guidance, spacing } = options
  const drawing = { ...cell, spacing, seed, guidance }
  return kept(
    bench,
    { model: model.digest, plan: planFor(model.facts, { ...cell, spacing }), guidance },
    async () => {
      const { value: pixels, stopped } = await working(
        `${cell.sampler}, ${cell.steps} steps`,
        count,
        (report) => sampleCached(folder, model, drawing, count, report),
      )
      const images = { ...model.facts.shape, pixels }
      if (countOf(images) < count) {
        console.log(`Stopped at ${countOf(images)} of ${count} images. Run the same command to resume.`)
        process.exitCode = stopped ?? 1
        return null
      }
      return compare(real, await extractor.extract(images))
    },
  )
}

await runCommand(command)
