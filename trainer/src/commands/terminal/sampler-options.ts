import { type SamplerOptions, samplers, timestepSpacings, UserError } from '@ddpm/shared'
import { choice, realNumber, wholeNumber } from '@ddpm/shared/cli'
import type { Command } from 'commander'

/** The options of a command line that decide a plan. */
export interface SamplerFlags {
  sampler?: SamplerOptions['sampler']
  steps?: number
  spacing?: SamplerOptions['spacing']
  eta?: SamplerOptions['eta']
  order?: number
  variance?: SamplerOptions['varianceType']
  epsilon?: SamplerOptions['epsilon']
}

const variances = ['fixedSmall', 'fixedLarge', 'learnedRange'] as const

/** Adds them to a command. */
export function addSamplerOptions(command: Command): Command {
  return command
    .option('--sampler <name>', `${samplers.join(', ')} (default: the model's)`, choice(samplers))
    .option('--steps <n>', "steps; heun asks the network twice in each (default: the model's)", wholeNumber)
    .option('--spacing <name>', timestepSpacings.join(', '), choice(timestepSpacings))
    .option('--eta <η>', 'ddim: 0 is deterministic, 1 as noisy as ddpm, hat has the larger σ̂', etaOf)
    .option('--order <n>', 'dpmpp and unipc: 1, 2 or 3; sde-dpmpp: 1 or 2', wholeNumber)
    .option('--variance <kind>', `ddpm: ${variances.join(', ')}`, choice(variances))
    .option('--epsilon <kind>', 'ddim after clamping: rederived or raw', choice(['rederived', 'raw']))
}

function etaOf(text: string): number | 'hat' {
  return text === 'hat' ? 'hat' : realNumber(text)
}

/** What was said, in the planner's words. */
export function samplerOptionsOf({ variance, order, ...flags }: SamplerFlags): Partial<SamplerOptions> {
  const { sampler, steps, spacing, eta, epsilon } = flags
  if (order !== undefined && order !== 1 && order !== 2 && order !== 3) {
    throw new UserError(`Found --order ${order}; expected 1, 2 or 3.`)
  }
  return {
    ...(sampler && { sampler }),
    ...(steps !== undefined && { steps }),
    ...(spacing && { spacing }),
    ...(eta !== undefined && { eta }),
    ...(order && { order }),
    ...(variance && { varianceType: variance }),
    ...(epsilon && { epsilon }),
  }
}
