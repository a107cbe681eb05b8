import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import {
  type ModelInfo,
  paperSchedule,
  parseManifest,
  parseSchedulerConfig,
  readScheduler,
  UserError,
  writeScheduler,
} from '@ddpm/shared'
import { modelInfoOf, openRun } from './run.ts'

/** What a plan is made for: a scheduler, and what is offered with it. */
export type PlanSource = Pick<ModelInfo, 'scheduler' | 'sampling'>

/** diffusers' blocks do not say how many steps to take. */
const usualSteps = 50

/**
 * Finds out what a path stands for: a run's folder, an exported one, a manifest, or a scheduler_config.json of
 * diffusers, alone or in its folder.
 * @param path the paper's schedule unless given
 * @throws UserError where it is none of these, or holds what is not implemented
 */
export function planSource(path?: string): PlanSource {
  if (path === undefined)
    return ofBlock(JSON.stringify(writeScheduler(paperSchedule, 'epsilon')), 'the paper')
  if (!existsSync(path)) {
    throw new UserError(
      `There is no ${path}. Give a run's or an exported folder, a manifest, or diffusers' scheduler_config.json.`,
    )
  }
  if (statSync(path).isFile()) return ofFile(path)
  for (const inside of [
    'manifest.json',
    'scheduler_config.json',
    join('scheduler', 'scheduler_config.json'),
  ]) {
    if (existsSync(join(path, inside))) return ofFile(join(path, inside))
  }
  return modelInfoOf(openRun(path).config)
}

function ofFile(path: string): PlanSource {
  const text = readFileSync(path, 'utf8')
  // A manifest has no _class_name of its own, though its block has.
  const isManifest = basename(path) === 'manifest.json' || /"scheduler"\s*:\s*\{/.test(text)
  return isManifest ? parseManifest(text, path) : ofBlock(text, path)
}

function ofBlock(text: string, source: string): PlanSource {
  const scheduler = parseSchedulerConfig(text, source)
  const { sampler, spacing } = readScheduler(scheduler).sampling
  const steps = Math.min(usualSteps, scheduler.num_train_timesteps)
  return { scheduler, sampling: { sampler, spacing, steps, guidance: 1 } }
}
