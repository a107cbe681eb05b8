import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { UserError } from '@ddpm/shared'
import { runCommand, wholeNumber } from '@ddpm/shared/command'
import { Command, Option } from 'commander'
import {
  checkpointSize,
  listCheckpoints,
  mostCheckpoints,
  type Progress,
  saveCheckpoint,
  thinCheckpoints,
} from '../checkpoint.ts'
import type { RunState } from '../dashboard/protocol.ts'
import { watchRun } from '../dashboard/watch.ts'
import { type Dataset, split } from '../data/dataset.ts'
import { openData } from '../data/open.ts'
import { side } from '../data/shapes.ts'
import { parseShape } from '../data/shapes-parser.ts'
import { diagnose, notFiniteIn } from '../diagnosis.ts'
import { formatDuration } from '../duration.ts'
import { chooseEngine, nameOf, type Wish } from '../engines/choose.ts'
import { devices, engineNames, type TrainingState } from '../engines/engine.ts'
import { openEngine } from '../engines/open.ts'
import { describeCost, describeForecast, stepCost } from '../estimate.ts'
import { CannotWrite, formatBytes, freeSpace, removeDrafts, writeAtomically } from '../files.ts'
import { draw } from '../inference.ts'
import { lockName, lockRun, refuseIfLocked } from '../lock.ts'
import { openMetrics } from '../metrics.ts'
import { initialize, layoutOf, tablesOf } from '../parameters.ts'
import { gridPng } from '../pictures.ts'
import { differences, openRecipe } from '../recipe-file.ts'
import { type Recipe, recipeFields, recipes, validateRecipe } from '../recipes.ts'
import {
  factsOf,
  networkOf,
  openCheckpoint,
  openRun,
  type RunConfig,
  stepOf,
  writeRunConfig,
} from '../run.ts'
import { emaNetwork, freshState, NotFinite, train, validationLoss } from '../training.ts'
import { parameterSpecs } from '../unet.ts'
import { progressBar } from './progress.ts'
import { stopOnSignals } from './signals.ts'

type Overrides = Partial<Record<keyof typeof recipeFields, unknown>>

interface Options extends Overrides, Wish {
  recipe?: string
  out?: string
  resume?: string
  threads?: number
  dashboard?: number | true
}

const command = new Command('npm run train --')
  .description('Trains a model on pictures and leaves it, with samples and metrics, in a folder.')
  .option(
    '--recipe <name|file.json>',
    `where to begin: ${Object.keys(recipes).join(', ')}, or a JSON file of fields`,
  )
  .option('--out <folder>', 'where the run goes (default: runs/RECIPE)')
  .option('--resume <folder>', 'go on with a run that was stopped')
  .addOption(
    new Option('--engine <name>', 'what computes: the fastest that works here, or one')
      .choices(['auto', ...engineNames])
      .default('auto'),
  )
  .addOption(
    new Option('--device <name>', 'where it computes; see npm run doctor')
      .choices(['auto', ...devices])
      .default('auto'),
  )
  .option('--threads <n>', 'CPU threads (default: all)', wholeNumber)
  .option('--dashboard [port]', 'watch it in a browser: curves, samples, time left', wholeNumber)

for (const [field, [value, , description]] of Object.entries(recipeFields)) {
  command.option(`--${kebab(field)} <${value}>`, description)
}
command
  .addHelpText(
    'after',
    `
Examples:
  npm run train                                       the built-in shapes
  npm run train -- --data my/pictures --out runs/mine a folder of pictures
  npm run train -- --recipe mnist --data data/mnist
  npm run train -- --resume runs/mine                 after Ctrl+C`,
  )
  .action((options: Options) => main(options))

function kebab(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** The fields that were given on the command line, read. */
function readOverrides(options: Options): Partial<Recipe> {
  return Object.fromEntries(
    Object.entries(recipeFields).flatMap(([field, [, parse]]) => {
      const text = options[field as keyof Overrides]
      if (typeof text !== 'string') return []
      try {
        return [[field, parse(text)]]
      } catch (error) {
        if (error instanceof UserError) throw new UserError(`--${kebab(field)}: ${error.message}`)
        throw error
      }
    }),
  )
}

/** What a run starts from: fresh, or from its latest checkpoint. */
interface Beginning {
  readonly folder: string
  /** The folder is yet to be made. */
  readonly isNew: boolean
  readonly config: RunConfig
  readonly dataset: Dataset
  readonly progress: Progress
  readonly state: TrainingState
  readonly tables: ReadonlyMap<string, Float32Array>
  /** The checkpoint that it goes on from. */
  readonly checkpoint?: string
}

async function main(options: Options): Promise<void> {
  const begin = options.resume === undefined ? beginAnew : resume
  await carryOut(await begin(options), options)
}

async function readPictures(recipe: Recipe): Promise<Dataset> {
  const bar = progressBar('Reading pictures')
  const dataset = await openData(recipe.data, {
    ...(recipe.size !== null && { size: recipe.size }),
    channels: recipe.channels,
    seed: recipe.seed,
    onProgress: (done, total) => bar.show(done, total),
    onWarning: (warning) => bar.log(warning),
  })
  bar.end()
  return dataset
}

function describe(
  { name, count, channels, height, width, classes }: Dataset,
  { conditional }: Recipe,
): RunConfig['pictures'] {
  return { name, count, channels, height, width, classes: conditional ? classes : [] }
}

async function beginAnew(options: Options): Promise<Beginning> {
  const overrides = readOverrides(options)
  const isShapes = overrides.data === undefined || /^shapes(:|$)/.test(overrides.data)
  const recipe = { ...openRecipe(options.recipe ?? (isShapes ? 'shapes' : 'pictures')), ...overrides }
  validateRecipe(recipe)
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

  const dataset = await readPictures(recipe)
  const config: RunConfig = { version: 1, recipe, pictures: describe(dataset, recipe) }
  const layout = layoutOf(parameterSpecs(networkOf(config).unet))
  return {
    folder,
    isNew: true,
    config,
    dataset,
    progress: { step: 0, seconds: 0, loss: null, validationLoss: null },
    state: freshState(initialize(layout, recipe.seed)),
    tables: tablesOf(layout),
  }
}

/** What may be changed when a run goes on; everything else belongs to what was trained so far. */
const changeable = [
  'data',
  'steps',
  'sampler',
  'samplingSteps',
  'guidance',
  'sampleEvery',
  'validateEvery',
  'checkpointEvery',
  'keep',
]

async function resume(options: Options): Promise<Beginning> {
  const folder = options.resume!
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
        `A run that goes on may change only ${changeable.map((field) => `--${kebab(field)}`).join(', ')}. ` +
        'Leave the rest out, or start a new run with --out.',
    )
  }
  const recipe = { ...saved.recipe, ...asked }
  validateRecipe(recipe)
  lockRun(folder)
  removeDrafts(folder)

  const dataset = await readPictures(recipe)
  const { name: _, ...found } = describe(dataset, recipe)
  const { name, ...expected } = saved.pictures
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new UserError(
      `The pictures of ${recipe.data} are not those that ${folder} was begun with:\n` +
        `  found    ${JSON.stringify(found)}\n  expected ${JSON.stringify(expected)}\n` +
        'Restore them, name the right ones with --data, or start a new run with --out.',
    )
  }
  const config: RunConfig = { ...saved, recipe, pictures: { name, ...expected } }
  if (listCheckpoints(folder).length === 0) {
    const layout = layoutOf(parameterSpecs(networkOf(config).unet))
    const progress = { step: 0, seconds: 0, loss: null, validationLoss: null }
    const state = freshState(initialize(layout, recipe.seed))
    return { folder, isNew: false, config, dataset, progress, state, tables: tablesOf(layout) }
  }
  const { checkpoint, path } = openCheckpoint(folder)
  writeRunConfig(folder, config)
  return { folder, isNew: false, config, dataset, ...checkpoint, checkpoint: path }
}

/** How many pictures read as one clean figure of the built-in set: [count, 3, 32, 32]. */
function clean(pictures: Float32Array): number {
  const size = 3 * side * side
  let parsed = 0
  for (let start = 0; start < pictures.length; start += size) {
    if (parseShape(pictures.subarray(start, start + size)).shape !== null) parsed += 1
  }
  return parsed
}

/** Steps after which it is said how long the run will take. */
const measuredSteps = 5

async function carryOut(
  { folder, isNew, config, dataset, progress, state, tables, checkpoint }: Beginning,
  { threads, dashboard, ...wish }: Wish & Pick<Options, 'threads' | 'dashboard'>,
): Promise<void> {
  const { recipe } = config
  const network = networkOf(config)
  const layout = layoutOf(parameterSpecs(network.unet))
  const parts = split(dataset, recipe.validation, recipe.seed)
  const facts = factsOf(config)
  if (progress.step >= recipe.steps) {
    console.log(`${folder} is trained: ${progress.step} of ${recipe.steps} steps. Go further with --steps.`)
    return
  }
  const spec = stepOf(config)
  const options = threads ? { threads } : {}
  const choice = await chooseEngine(wish, spec, options)
  if (choice.reason !== null) console.log(`${nameOf(choice)}: ${choice.reason}`)
  const engine = await openEngine(choice, spec, tables, state, options)
  if (isNew) {
    // Not before: a run that cannot start leaves no folder behind.
    lockRun(folder)
    writeRunConfig(folder, config)
  }
  console.log(
    `${parts.train.count} pictures of ${dataset.name} (${dataset.channels}×${dataset.height}×${dataset.width}, ` +
      `${config.pictures.classes.length === 0 ? 'no classes' : `${config.pictures.classes.length} classes`}), ` +
      `${parts.validation.count} for validation\n` +
      `${layout.size.toLocaleString('en')} parameters, ${engine.description}; the run is in ${folder}`,
  )
  const cost = stepCost(spec)
  console.log(describeCost(cost))
  const room = mostCheckpoints(recipe.keep) * checkpointSize(layout)
  if (freeSpace(folder) < room) {
    console.warn(
      `Only ${formatBytes(freeSpace(folder))} are free in ${folder}; the checkpoints of a run take up to ` +
        `${formatBytes(room)}. Make room, or keep fewer with --keep.`,
    )
  }
  const metrics = openMetrics(join(folder, 'metrics.jsonl'), progress.step)
  const watch = await watchRun({ folder, config }, cost, dashboard)
  if (watch.url) console.log(`Watch it at ${watch.url}`)

  let { step, loss, validationLoss: validated } = progress
  const began = performance.now()
  const seconds = () => progress.seconds + (performance.now() - began) / 1000
  let saved = checkpoint
  const save = async () => {
    const state = await engine.state()
    const bad = notFiniteIn(layout, state)
    if (bad !== null) throw new NotFinite(step, `${bad} are not finite`, [])
    metrics.sync()
    const now = { step, seconds: seconds(), loss, validationLoss: validated }
    saved = saveCheckpoint(folder, layout, { progress: now, state, tables }, network.unet)
    thinCheckpoints(folder, recipe.steps, recipe.keep)
  }

  const bar = progressBar('Training')
  const stop = stopOnSignals((signal) =>
    bar.log(`${signal}: saving after this step (Ctrl+C once more to stop without saving) …`),
  )

  /** Wall time of the latest steps, for the rate and the time left. */
  const recent: number[] = []
  /** Of the time, smoothed: the part spent waiting for batches. */
  let dataWait = 0
  let before = performance.now()
  let ended: RunState = 'failed'
  try {
    await train(engine, parts.train, network.unet, recipe, {
      from: progress.step,
      async onStep(report) {
        step = report.step
        loss = loss === null ? report.loss : loss + (report.loss - loss) * 0.02
        // The step blocks the event loop: signals are heard only when it turns.
        await setImmediate()
        recent.push(performance.now() - before)
        if (recent.length > 50) recent.shift()
        dataWait += (report.dataWait - dataWait) / recent.length
        const stepTime = recent.reduce((a, b) => a + b, 0) / recent.length / 1000
        const rate = recipe.batchSize / stepTime
        metrics.note({ ...report, imagesPerSecond: Number(rate.toFixed(1)) })
        bar.show(
          step,
          recipe.steps,
          `loss ${loss.toFixed(4)}  ${rate.toFixed(0)} images/s  ${(100 * dataWait).toFixed(0)} % waiting for data  ` +
            `${formatDuration(stepTime * (recipe.steps - step))} left`,
        )

        if (step === progress.step + measuredSteps) {
          bar.log(describeForecast(cost, recent, recipe.steps - step))
        }

        const due = (every: number) => step % every === 0 || step === recipe.steps
        if (due(recipe.validateEvery)) {
          validated = await validationLoss(engine, parts.validation, network.unet, recipe)
          metrics.note({ step, validationLoss: validated })
          bar.log(`step ${step}: training loss ${loss.toFixed(4)}, validation loss ${validated.toFixed(4)}`)
        }
        if (due(recipe.sampleEvery)) {
          const count = 16
          const pictures = await draw(facts, emaNetwork(engine), { seed: recipe.seed, count })
          const path = join(folder, 'samples', `step-${String(step).padStart(8, '0')}.png`)
          writeAtomically(path, await gridPng(pictures, facts.shape))
          bar.log(
            `step ${step}: samples in ${path}${dataset.name === 'shapes' ? `, ${clean(pictures)} of ${count} clean` : ''}`,
          )
        }
        const stopping = stop.signal !== null
        if (due(recipe.checkpointEvery) || stopping) await save()
        before = performance.now()
        return stopping
      },
    })
    ended = stop.signal === null ? 'finished' : 'stopped'
  } catch (error) {
    if (!(error instanceof CannotWrite || error instanceof NotFinite)) throw error
    let message = error.message
    if (error instanceof NotFinite) {
      const state = await engine.state()
      message = `Training stopped at step ${error.step}: ${error.found}.`
      if (error.batches.length > 0) message += `\n${await diagnose(spec, tables, state, error.batches)}`
      message += '\nStart again with a lower --learning-rate or a smaller --clip-norm.'
      if (notFiniteIn(layout, state) === null) await save()
    }
    const left =
      saved === undefined ? 'No checkpoint was written yet.' : `The last good checkpoint is ${saved}.`
    const advice = error instanceof CannotWrite ? ` Go on with: npm run train -- --resume ${folder}` : ''
    throw new UserError(`${message}\n${left}${advice}`)
  } finally {
    stop.release()
    metrics.close()
    await engine.dispose()
    bar.end()
    await watch.end(ended)
  }
  if (stop.signal !== null) {
    console.log(
      `Stopped and saved at step ${step} of ${recipe.steps}. Go on with: npm run train -- --resume ${folder}`,
    )
    process.exitCode = stop.exitCode
    return
  }
  console.log(
    `Trained ${step} steps in ${formatDuration(seconds())}. Next: npm run sample -- ${folder}, ` +
      `npm run export -- ${folder}, npm run publish -- ${folder}`,
  )
}

await runCommand(command)
