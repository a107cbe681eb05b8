import { join } from 'node:path'
import {
  countEvaluations,
  planFor,
  type Sampler,
  type SamplerOptions,
  samplers,
  UserError,
} from '@ddpm/shared'
import { parseChoice, parseNumber, parseWholeNumber, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { runLongTask } from '../trainer/src/commands/terminal/long-task.ts'
import {
  addPlanOptions,
  type PlanFlags,
  planOptionsOf,
} from '../trainer/src/commands/terminal/sampler-options.ts'
import {
  classifierFolder,
  openDefaultExtractor,
  openFeatureData,
} from '../trainer/src/evaluation/features/default.ts'
import type { Extractor } from '../trainer/src/evaluation/features/extractor.ts'
import { cacheKey, readCached, writeCached } from '../trainer/src/evaluation/inputs/cache.ts'
import { describeStop, sampleCached } from '../trainer/src/evaluation/inputs/generated.ts'
import {
  countImages,
  modelFolder,
  openEvaluationSet,
  selectImages,
} from '../trainer/src/evaluation/inputs/images.ts'
import { compare, compareDefaults, type Scores } from '../trainer/src/evaluation/metrics/compare.ts'
import type { Features } from '../trainer/src/evaluation/metrics/features.ts'
import { formatScore } from '../trainer/src/evaluation/report.ts'
import { type OpenedModel, openModel } from '../trainer/src/inference/model.ts'
import { writeAtomically } from '../trainer/src/support/files.ts'
import { type Measured, qualityChart, qualityTable } from './quality-table.ts'

interface Options extends PlanFlags {
  data?: string
  out?: string
  samplers: Sampler[]
  steps?: number[]
  count: number
  reference: number
  seed: number
  guidance: number
}

const list =
  <T>(item: (text: string) => T) =>
  (text: string) =>
    text.split(',').map((part) => item(part.trim()))

const command = addPlanOptions(
  new Command('npm run bench:quality --')
    .description(
      'Measures the quality of every sampler for several numbers of steps, and writes a table and a chart. Finished cells ' +
        'and generated images are cached: stop with Ctrl+C and resume with the same command.',
    )
    .argument('<model>', "a run's folder, a checkpoint, or an exported model"),
)
  .option('--data <source>', 'real images, as for train (default: those of the run)')
  .option('--out <folder>', 'output folder (default: MODEL/evaluation)')
  .option('--samplers <list>', `some of ${samplers.join(', ')}`, list(parseChoice(samplers)), [...samplers])
  .option(
    '--steps <list>',
    'steps per sampler (default: 10,20,50; ddpm and ddim also 100,250; ddpm also 1000)',
    list(parseWholeNumber),
  )
  .option('--count <n>', 'samples per cell', parseWholeNumber, 2000)
  .option('--reference <n>', 'real images to compare with', parseWholeNumber, 10_000)
  .option('--seed <n>', 'seed of the samples and the bootstrap', parseWholeNumber, 0)
  .option('--guidance <scale>', 'classifier-free guidance scale', parseNumber, 1)
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

/** Returns the requested cells, those with the fewest steps first. */
function cellsOf({ samplers: requested, steps }: Options): Cell[] {
  const stepsOf = (sampler: Sampler) =>
    steps ?? [
      ...[10, 20, 50],
      ...(sampler === 'ddpm' || sampler === 'ddim' ? [100, 250] : []),
      ...(sampler === 'ddpm' ? [1000] : []),
    ]
  return requested
    .flatMap((sampler) => stepsOf(sampler).map((steps) => ({ sampler, steps })))
    .sort((a, b) => a.steps - b.steps)
}

async function main(path: string, options: Options): Promise<void> {
  const { count, reference, seed, data, out } = options
  const plan = { spacing: 'trailing', ...planOptionsOf(options) } as const
  const model = await openModel(path, 'ema')
  const { dataset } = await openEvaluationSet(path, model.info, { data }, 'train')
  if (dataset.count < reference + count) {
    throw new UserError(
      `Cannot measure the quality: expected ${reference} real images to compare with and ${count} more for the row ` +
        `"real images", got ${dataset.count}. Lower --reference or --count.`,
    )
  }
  const folder = out ?? join(modelFolder(path), 'evaluation')
  const { value: extractor } = await runLongTask('Preparing the features, %', 100, async (report) =>
    openDefaultExtractor(
      await openFeatureData(path, dataset),
      out ?? classifierFolder(path),
      async (step, steps) => {
        if (await report((100 * step) / steps))
          throw new UserError('Stopped. The next run trains the classifier again from the start.')
      },
    ),
  )
  console.log(`${model.description}\nFeatures of ${extractor.description}`)
  const real = await extractor.extract(selectImages(dataset, reference, seed))
  const others = selectImages(dataset, count, seed, reference)
  const bench = { folder, model, extractor, real, plan, options }
  const floor = await cachedScores(bench, 'real', async () => compare(real, await extractor.extract(others)))

  const measured: Measured[] = []
  const planText = Object.entries(plan)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')
  const write = () => {
    const title =
      `${count} samples per cell compared with ${reference} real images, guidance ${options.guidance}, ` +
      `${planText}, seed ${seed}; ± is half of ` +
      `the bootstrap's 95 % interval; features of ${extractor.description}; ${model.description}`
    writeAtomically(join(folder, 'quality-by-steps.md'), qualityTable(measured, floor!, title))
    writeAtomically(join(folder, 'quality-by-steps.svg'), qualityChart(measured, floor!))
  }
  for (const cell of cellsOf(options)) {
    const scores = await measure(bench, cell)
    if (scores === null) break
    measured.push({
      ...cell,
      evaluations: countEvaluations(planFor(model.info, { ...plan, ...cell })),
      scores,
    })
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
  /** Plan options of all cells. */
  readonly plan: Partial<SamplerOptions>
  readonly options: Options
}

/** Returns cached scores, or computes and caches them. */
async function cachedScores(
  { folder, extractor, options: { count, reference, seed } }: Bench,
  what: unknown,
  compute: () => Promise<Scores | null>,
): Promise<Scores | null> {
  const settings = { what, features: extractor.digest, count, reference, seed, compareDefaults }
  const path = join(folder, `cell-${cacheKey(settings)}.json`)
  const cached = readCached<{ scores: Scores }>(path)?.scores
  if (cached) return cached
  const scores = await compute()
  if (scores !== null) writeCached(path, { settings, scores })
  return scores
}

/** Measures one cell; returns null if it was stopped. */
async function measure(bench: Bench, cell: Cell): Promise<Scores | null> {
  const { folder, model, extractor, real, plan, options } = bench
  const { count, seed, guidance } = options
  const sampling = { ...plan, ...cell }
  return cachedScores(
    bench,
    { model: model.digest, plan: planFor(model.info, sampling), guidance },
    async () => {
      const { value: images, stopped } = await runLongTask(
        `${cell.sampler}, ${cell.steps} steps`,
        count,
        (report) => sampleCached(folder, model, { ...sampling, seed, guidance }, count, report),
      )
      if (countImages(images) < count) {
        console.log(describeStop(images, count))
        process.exitCode = stopped ?? 1
        return null
      }
      return compare(real, await extractor.extract(images))
    },
  )
}

await runCommand(command)
