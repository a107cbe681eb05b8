import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import {
  fromSchedulerConfig,
  type ModelInfo,
  paperSchedule,
  parseManifest,
  parseSchedulerConfig,
  toSchedulerConfig,
  UserError,
} from '@ddpm/shared'
import { modelInfoOf, openRun } from './run.ts'

/** Input of a sampling plan: a scheduler and its default sampling options. */
export type PlanSource = Pick<ModelInfo, 'scheduler' | 'sampling'>

/** The scheduler configurations of diffusers do not contain the number of steps. */
const defaultSteps = 50

/**
 * Opens the scheduler of a run, an exported model, a manifest or a diffusers scheduler_config.json.
 * @param path a file or a folder. Default: the schedule of the DDPM paper.
 * @throws UserError if it is none of these, or the scheduler is not supported
 */
export function openPlanSource(path?: string): PlanSource {
  if (path === undefined)
    return parsePlanSource(JSON.stringify(toSchedulerConfig(paperSchedule, 'epsilon')), 'the paper')
  if (!existsSync(path)) {
    throw new UserError(
      `Cannot find ${path}. Pass the folder of a run or of an exported model, a manifest, or a scheduler_config.json.`,
    )
  }
  if (statSync(path).isFile()) return fromFile(path)
  for (const name of ['manifest.json', 'scheduler_config.json', join('scheduler', 'scheduler_config.json')]) {
    if (existsSync(join(path, name))) return fromFile(join(path, name))
  }
  return modelInfoOf(openRun(path).config)
}

function fromFile(path: string): PlanSource {
  const text = readFileSync(path, 'utf8')
  // Both kinds of file contain a scheduler configuration. A manifest contains it as a nested object.
  const isManifest = basename(path) === 'manifest.json' || /"scheduler"\s*:\s*\{/.test(text)
  return isManifest ? parseManifest(text, path) : parsePlanSource(text, path)
}

function parsePlanSource(text: string, source: string): PlanSource {
  const scheduler = parseSchedulerConfig(text, source)
  const { sampler, spacing } = fromSchedulerConfig(scheduler).sampling
  const steps = Math.min(defaultSteps, scheduler.num_train_timesteps)
  return { scheduler, sampling: { sampler, spacing, steps, guidance: 1 } }
}
