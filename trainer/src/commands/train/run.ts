import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { UserError } from '@ddpm/shared'
import { type ProgressBar, progressBar, quote } from '@ddpm/shared/cli'
import type { RunState } from '../../dashboard/protocol.ts'
import { watchRun } from '../../dashboard/watch.ts'
import { describeSplit } from '../../data/dataset/dataset.ts'
import { MissingImageError } from '../../data/dataset/gather.ts'
import { chooseEngine, formatCandidate } from '../../engines/choose.ts'
import { openEngine } from '../../engines/open.ts'
import { checkpointSize, maxCheckpoints } from '../../run/checkpoint.ts'
import { writeImageList } from '../../run/image-list.ts'
import { lockRun } from '../../run/lock.ts'
import { openMetrics } from '../../run/metrics.ts'
import { layoutOfRun, networkOf, stepOf, writeRunConfig } from '../../run/run.ts'
import { openTensorboard } from '../../run/tensorboard.ts'
import type { Engine } from '../../step/engine.ts'
import type { StepSpec } from '../../step/spec.ts'
import { formatDuration } from '../../support/duration.ts'
import { formatBytes, freeSpace, WriteError } from '../../support/files.ts'
import { describeCost, describeForecast, type StepCost, stepCost } from '../../training/estimate.ts'
import { NotFinite, type StepReport, train, validationLoss } from '../../training/loop.ts'
import { type Stop, stopOnSignals } from '../terminal/signals.ts'
import type { Options } from './options.ts'
import type { PreparedRun } from './prepared-run.ts'
import { writeSampleGrid } from './samples.ts'
import { createSaveTimer } from './save-timer.ts'
import { explainFailure, saveProgress, type TrainingSession } from './session.ts'
import { createStepTimer } from './step-timer.ts'

/** Trains a run until its last step or a signal. Writes checkpoints, validation losses and samples regularly. */
export async function trainRun(prepared: PreparedRun, options: Options): Promise<void> {
  const { folder, config, images, progress } = prepared
  const { recipe } = config
  if (progress.step >= recipe.steps) {
    console.log(
      `${folder} is finished: ${progress.step} of ${recipe.steps} steps. To continue, raise --steps.`,
    )
    return
  }
  const { spec, cost, engine } = await openEngineOf(prepared, options)
  const watch = await watchRun({ folder, config }, cost, options.dashboard)
  if (prepared.isNew) {
    // Created as late as possible, so that a run that cannot start leaves no folder behind.
    lockRun(folder)
    writeRunConfig(folder, config)
    if (prepared.imageList !== null) writeImageList(folder, prepared.imageList)
  }
  printIntroduction(prepared, engine)
  console.log(describeCost(cost))
  warnOfFullDisk(prepared)
  const metrics = openMetrics(join(folder, 'metrics.jsonl'), progress.step)
  watch.begin()
  const tensorboard = options.tensorboard ? openTensorboard(join(folder, 'tensorboard'), progress.step) : null
  if (tensorboard) console.log(`To watch with TensorBoard: tensorboard --logdir ${quote(folder)}`)
  if (watch.url) console.log(`The dashboard is at ${watch.url}`)

  const start = performance.now()
  const seconds = () => progress.seconds + (performance.now() - start) / 1000
  const session: TrainingSession = { ...prepared, spec, cost, engine, metrics, tensorboard, seconds }
  const bar = progressBar('Training')
  const stop = stopOnSignals((signal) =>
    bar.log(`${signal}: saving after this step (press Ctrl+C again to stop without saving) …`),
  )
  const onStep = stepHandler(session, bar, stop)

  let outcome: RunState = 'failed'
  try {
    await train(engine, images.train, networkOf(config).unet, recipe, { from: progress.step, onStep })
    outcome = stop.signal === null ? 'finished' : 'stopped'
  } catch (error) {
    const isExpected =
      error instanceof WriteError || error instanceof NotFinite || error instanceof MissingImageError
    throw isExpected ? await explainFailure(session, error) : error
  } finally {
    stop.release()
    metrics.close()
    tensorboard?.close()
    await engine.dispose()
    bar.end()
    await watch.end(outcome)
  }
  const { step } = session.progress
  if (stop.signal !== null) {
    console.log(
      `Stopped and saved at step ${step} of ${recipe.steps}. To resume: npm run train -- --resume ${quote(folder)}`,
    )
    process.exitCode = stop.exitCode
    return
  }
  console.log(
    `Trained ${step} steps in ${formatDuration(seconds())}. Next: npm run sample -- ${quote(folder)}, ` +
      `npm run export -- ${quote(folder)}, npm run publish -- ${quote(folder)}`,
  )
}

/**
 * Chooses the engine and opens it for a run.
 * @throws UserError if no engine works or the memory is insufficient
 */
export async function openEngineOf(
  { config, engineRequest, state, tables }: PreparedRun,
  { threads }: Options,
): Promise<{ spec: StepSpec; cost: StepCost; engine: Engine }> {
  const spec = stepOf(config)
  const threadOptions = threads === undefined ? {} : { threads }
  const choice = await chooseEngine(engineRequest, spec, threadOptions)
  if (choice.reason !== null) console.log(`${formatCandidate(choice)}: ${choice.reason}`)
  const cost = stepCost(spec)
  if (choice.device === 'cpu') assertFitsInMemory(cost)
  return { spec, cost, engine: await openEngine(choice, spec, tables, state, threadOptions) }
}

/** Number of steps to measure before forecasting the duration of the run. */
const measuredSteps = 5

/** Returns the function to call after every step. It returns true if a signal has stopped the training. */
function stepHandler(
  session: TrainingSession,
  bar: ProgressBar,
  stop: Stop,
): (report: StepReport) => Promise<boolean> {
  const { folder, config, images, cost, engine, metrics, tensorboard } = session
  const { recipe } = config
  const { unet } = networkOf(config)
  const firstStep = session.progress.step
  const timer = createStepTimer()
  const [sampleTimer, checkpointTimer] = [createSaveTimer(), createSaveTimer()]
  return async (report) => {
    const { step } = report
    const previous = session.progress.loss
    const loss = previous === null ? report.loss : previous + (report.loss - previous) * 0.02
    session.progress = { ...session.progress, step, loss }
    // A step blocks the event loop. Waiting here lets Node deliver pending signals.
    await setImmediate()
    timer.record(report)
    const rate = recipe.batchSize / timer.secondsPerStep()
    const stepsLeft = recipe.steps - step
    metrics.append({ ...report, imagesPerSecond: Number(rate.toPrecision(4)) })
    tensorboard?.scalars(step, {
      'training/loss': report.loss,
      'training/gradient_norm': report.gradientNorm,
      'training/learning_rate': report.learningRate,
      'speed/images_per_second': rate,
    })
    bar.show(
      step,
      recipe.steps,
      // The time left comes first, because a narrow terminal cuts off the end.
      `${formatDuration(timer.secondsPerStep() * stepsLeft)} left  loss ${loss.toFixed(4)}  ` +
        `${rate.toPrecision(3)} images/s  ${(100 * timer.dataWait()).toFixed(0)} % waiting for data`,
    )
    if (step === firstStep + measuredSteps) bar.log(describeForecast(cost, timer.milliseconds, stepsLeft))

    const isDue = (interval: number) => step % interval === 0 || step === recipe.steps
    if (isDue(recipe.validateEvery)) {
      const validated = await validationLoss(engine, images.validation, unet, recipe)
      session.progress = { ...session.progress, validationLoss: validated }
      metrics.append({ step, validationLoss: validated })
      tensorboard?.scalars(step, { 'validation/loss': validated })
      bar.log(`step ${step}: training loss ${loss.toFixed(4)}, validation loss ${validated.toFixed(4)}`)
    }
    if (isDue(recipe.sampleEvery) || sampleTimer.isDue()) {
      const { png, line } = await writeSampleGrid(folder, config, engine, step)
      tensorboard?.image(step, 'samples', png)
      bar.log(`step ${step}: ${line}`)
      sampleTimer.restart()
    }
    const isStopped = stop.signal !== null
    if (isDue(recipe.checkpointEvery) || checkpointTimer.isDue() || isStopped) {
      await saveProgress(session)
      checkpointTimer.restart()
    }
    timer.restart()
    return isStopped
  }
}

function printIntroduction({ folder, config }: PreparedRun, engine: Engine): void {
  const { name, count, channels, height, width, classes } = config.dataset
  console.log(
    `Images of ${name} (${channels}×${height}×${width}, ` +
      `${classes.length === 0 ? 'no classes' : `${classes.length} classes`}): ` +
      `${describeSplit(count, config.recipe.validation)}\n` +
      `${layoutOfRun(config).size.toLocaleString('en')} parameters, ${engine.description}; run folder: ${folder}`,
  )
}

/**
 * Checks that the minimum memory of a step is available. Otherwise the system would kill the process during a step.
 * @throws UserError
 */
function assertFitsInMemory({ bytes }: StepCost): void {
  const free = process.availableMemory()
  if (bytes <= free) return
  throw new UserError(
    `A step needs at least ${formatBytes(bytes)} of memory, but only ${formatBytes(free)} are free. Use a smaller ` +
      '--batch-size, --size or --base-channels, or split the step with --accumulate.',
  )
}

function warnOfFullDisk({ folder, config }: PreparedRun): void {
  const needed = maxCheckpoints(config.recipe.keep) * checkpointSize(layoutOfRun(config))
  const free = freeSpace(folder)
  if (free >= needed) return
  console.warn(
    `Only ${formatBytes(free)} are free in ${folder}, but the checkpoints of the run need up to ${formatBytes(needed)}. ` +
      'Free some space, or keep fewer checkpoints with --keep.',
  )
}
