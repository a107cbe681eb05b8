import { UserError } from '@ddpm/shared'
import { quote } from '@ddpm/shared/cli'
import { MissingImageError } from '../../data/dataset/gather.ts'
import { type Progress, removeOldCheckpoints, saveCheckpoint } from '../../run/checkpoint.ts'
import type { Metrics } from '../../run/metrics.ts'
import { layoutOfRun, networkOf } from '../../run/run.ts'
import type { TensorboardWriter } from '../../run/tensorboard.ts'
import type { Engine } from '../../step/engine.ts'
import type { StepSpec } from '../../step/spec.ts'
import type { WriteError } from '../../support/files.ts'
import { describeNonFinite, diagnose } from '../../training/diagnosis.ts'
import type { StepCost } from '../../training/estimate.ts'
import { NotFinite } from '../../training/loop.ts'
import type { PreparedRun } from './prepared-run.ts'

/** A run in training. */
export interface TrainingSession extends PreparedRun {
  readonly spec: StepSpec
  readonly cost: StepCost
  readonly engine: Engine
  readonly metrics: Metrics
  /** Null unless requested. */
  readonly tensorboard: TensorboardWriter | null
  /** Latest progress, except its `seconds`, which is the value at the start of this session. */
  progress: Progress
  /** The newest checkpoint, if any. */
  checkpoint?: string
  /** Returns the wall time of the training in seconds, including earlier sessions of the run. */
  readonly seconds: () => number
}

/**
 * Saves a checkpoint of the latest step and removes old ones.
 * @throws NotFinite if a weight is not finite; WriteError
 */
export async function saveProgress(session: TrainingSession): Promise<void> {
  const { folder, config, tables, engine, metrics, seconds } = session
  const { recipe } = config
  const layout = layoutOfRun(config)
  const state = await engine.state()
  const notFinite = describeNonFinite(layout, state)
  if (notFinite !== null) throw new NotFinite(session.progress.step, `${notFinite} are not finite`, [])
  metrics.sync()
  const progress = { ...session.progress, seconds: seconds() }
  session.checkpoint = saveCheckpoint(folder, layout, { progress, state, tables }, networkOf(config).unet)
  removeOldCheckpoints(folder, recipe.steps, recipe.keep)
}

/** Saves a checkpoint after an expected error, if possible, and returns the error with advice on how to continue. */
export async function explainFailure(
  session: TrainingSession,
  error: WriteError | NotFinite | MissingImageError,
): Promise<UserError> {
  const { folder, config, tables, engine, spec } = session
  let message = error.message
  if (error instanceof NotFinite) {
    const state = await engine.state()
    message = `Training stopped at step ${error.step}: ${error.reason}.`
    if (error.batches.length > 0) message += `\n${await diagnose(spec, tables, state, error.batches)}`
    message += '\nStart again with a lower --learning-rate or a smaller --clip-norm.'
    if (describeNonFinite(layoutOfRun(config), state) === null) await saveProgress(session)
  }
  if (error instanceof MissingImageError) await saveProgress(session)
  const { checkpoint } = session
  const saved =
    checkpoint === undefined ? 'No checkpoint was written yet.' : `The last good checkpoint is ${checkpoint}.`
  const advice = error instanceof NotFinite ? '' : ` To resume: npm run train -- --resume ${quote(folder)}`
  return new UserError(`${message}\n${saved}${advice}`)
}
