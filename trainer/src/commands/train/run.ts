import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { UserError } from '@ddpm/shared'
import type { RunState } from '../../dashboard/protocol.ts'
import { watchRun } from '../../dashboard/watch.ts'
import { ImageMissing } from '../../data/gather.ts'
import { chooseEngine, nameOf } from '../../engines/choose.ts'
import { openEngine } from '../../engines/open.ts'
import { checkpointSize, maxCheckpoints, saveCheckpoint, thinCheckpoints } from '../../run/checkpoint.ts'
import { lockRun } from '../../run/lock.ts'
import { openMetrics } from '../../run/metrics.ts'
import { layoutOfRun, networkOf, stepOf, writeRunConfig } from '../../run/run.ts'
import type { Engine } from '../../step/engine.ts'
import { formatDuration } from '../../support/duration.ts'
import { CannotWrite, formatBytes, freeSpace } from '../../support/files.ts'
import { diagnose, notFiniteIn } from '../../training/diagnosis.ts'
import { describeCost, describeForecast, type StepCost, stepCost } from '../../training/estimate.ts'
import { NotFinite, type StepReport, train, validationLoss } from '../../training/loop.ts'
import { progressBar } from '../terminal/progress.ts'
import { stopOnSignals } from '../terminal/signals.ts'
import type { Beginning } from './begin.ts'
import type { Options } from './options.ts'
import { createPace } from './pace.ts'
import { drawSamples } from './samples.ts'

/** Steps after which it is said how long the run will take. */
const measuredSteps = 5

/** Trains a run to its last step, or until it is stopped; saves, validates and draws on the way. */
export async function carryOut(
  beginning: Beginning,
  { threads, dashboard, ...wish }: Options,
): Promise<void> {
  const { folder, isNew, config, images, progress, state, tables } = beginning
  const { recipe } = config
  if (progress.step >= recipe.steps) {
    console.log(`${folder} is trained: ${progress.step} of ${recipe.steps} steps. Go further with --steps.`)
    return
  }
  const spec = stepOf(config)
  const options = threads === undefined ? {} : { threads }
  const choice = await chooseEngine(wish, spec, options)
  if (choice.reason !== null) console.log(`${nameOf(choice)}: ${choice.reason}`)
  const cost = stepCost(spec)
  if (choice.device === 'cpu') refuseTooLarge(cost)
  const engine = await openEngine(choice, spec, tables, state, options)
  const watch = await watchRun({ folder, config }, cost, dashboard)
  if (isNew) {
    // Not before: a run that cannot start leaves no folder behind.
    lockRun(folder)
    writeRunConfig(folder, config)
  }
  introduce(beginning, engine)
  console.log(describeCost(cost))
  warnOfFullDisk(beginning)
  const metrics = openMetrics(join(folder, 'metrics.jsonl'), progress.step)
  if (watch.url) console.log(`Watch it at ${watch.url}`)

  const { unet } = networkOf(config)
  const layout = layoutOfRun(config)
  let { step, loss, validationLoss: validated } = progress
  let saved = beginning.checkpoint
  const began = performance.now()
  const seconds = () => progress.seconds + (performance.now() - began) / 1000
  const save = async () => {
    const state = await engine.state()
    const bad = notFiniteIn(layout, state)
    if (bad !== null) throw new NotFinite(step, `${bad} are not finite`, [])
    metrics.sync()
    const now = { step, seconds: seconds(), loss, validationLoss: validated }
    saved = saveCheckpoint(folder, layout, { progress: now, state, tables }, unet)
    thinCheckpoints(folder, recipe.steps, recipe.keep)
  }

  const bar = progressBar('Training')
  const stop = stopOnSignals((signal) =>
    bar.log(`${signal}: saving after this step (Ctrl+C once more to stop without saving) …`),
  )
  const pace = createPace()

  async function onStep(report: StepReport): Promise<boolean> {
    step = report.step
    loss = loss === null ? report.loss : loss + (report.loss - loss) * 0.02
    // The step blocks the event loop: signals are heard only when it turns.
    await setImmediate()
    pace.note(report)
    const rate = recipe.batchSize / pace.stepTime()
    const left = recipe.steps - step
    metrics.note({ ...report, imagesPerSecond: Number(rate.toPrecision(4)) })
    bar.show(
      step,
      recipe.steps,
      `loss ${loss.toFixed(4)}  ${rate.toPrecision(3)} images/s  ${(100 * pace.dataWait()).toFixed(0)} % waiting for data  ` +
        `${formatDuration(pace.stepTime() * left)} left`,
    )
    if (step === progress.step + measuredSteps) bar.log(describeForecast(cost, pace.milliseconds, left))

    const due = (every: number) => step % every === 0 || step === recipe.steps
    if (due(recipe.validateEvery)) {
      validated = await validationLoss(engine, images.validation, unet, recipe)
      metrics.note({ step, validationLoss: validated })
      bar.log(`step ${step}: training loss ${loss.toFixed(4)}, validation loss ${validated.toFixed(4)}`)
    }
    if (due(recipe.sampleEvery)) bar.log(`step ${step}: ${await drawSamples(folder, config, engine, step)}`)
    const stopping = stop.signal !== null
    if (due(recipe.checkpointEvery) || stopping) await save()
    pace.restart()
    return stopping
  }

  /** Saves what is good when a training cannot go on, and says what to do. */
  async function explain(error: CannotWrite | NotFinite | ImageMissing): Promise<UserError> {
    let message = error.message
    if (error instanceof NotFinite) {
      const state = await engine.state()
      message = `Training stopped at step ${error.step}: ${error.found}.`
      if (error.batches.length > 0) message += `\n${await diagnose(spec, tables, state, error.batches)}`
      message += '\nStart again with a lower --learning-rate or a smaller --clip-norm.'
      if (notFiniteIn(layout, state) === null) await save()
    }
    if (error instanceof ImageMissing) await save()
    const left =
      saved === undefined ? 'No checkpoint was written yet.' : `The last good checkpoint is ${saved}.`
    const advice = error instanceof NotFinite ? '' : ` Go on with: npm run train -- --resume ${folder}`
    return new UserError(`${message}\n${left}${advice}`)
  }

  let ended: RunState = 'failed'
  try {
    await train(engine, images.train, unet, recipe, { from: progress.step, onStep })
    ended = stop.signal === null ? 'finished' : 'stopped'
  } catch (error) {
    const foreseen =
      error instanceof CannotWrite || error instanceof NotFinite || error instanceof ImageMissing
    throw foreseen ? await explain(error) : error
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

function introduce({ folder, config, images: { train, validation } }: Beginning, engine: Engine): void {
  const { classes } = config.dataset
  console.log(
    `${train.count} ${train.count === 1 ? 'picture' : 'pictures'} of ${train.name} (${train.channels}×${train.height}×${train.width}, ` +
      `${classes.length === 0 ? 'no classes' : `${classes.length} classes`}), ${validation.count} for validation\n` +
      `${layoutOfRun(config).size.toLocaleString('en')} parameters, ${engine.description}; the run is in ${folder}`,
  )
}

/** What the graph needs at least is more than there is: the system would end the process in the middle of a step. */
function refuseTooLarge({ bytes }: StepCost): void {
  const free = process.availableMemory()
  if (bytes <= free) return
  throw new UserError(
    `A step takes at least ${formatBytes(bytes)} of memory, but only ${formatBytes(free)} are free. Give a smaller ` +
      '--batch-size, --size or --base-channels, or cut the step with --accumulate.',
  )
}

function warnOfFullDisk({ folder, config }: Beginning): void {
  const room = maxCheckpoints(config.recipe.keep) * checkpointSize(layoutOfRun(config))
  const free = freeSpace(folder)
  if (free >= room) return
  console.warn(
    `Only ${formatBytes(free)} are free in ${folder}; the checkpoints of a run take up to ${formatBytes(room)}. ` +
      'Make room, or keep fewer with --keep.',
  )
}
