import { type SamplerOptions, samplers, timestepSpacings, UserError, varianceTypes } from '@ddpm/shared'
import { parseChoice, parseNumber, parseWholeNumber } from '@ddpm/shared/cli'
import type { Command } from 'commander'

/** Parsed flags that change the plan of any sampler. */
export interface PlanFlags {
  spacing?: SamplerOptions['spacing']
  eta?: SamplerOptions['eta']
  order?: number
  variance?: SamplerOptions['varianceType']
  epsilon?: SamplerOptions['epsilon']
}

/** Parsed flags that choose a sampler and its plan. */
export interface SamplerFlags extends PlanFlags {
  sampler?: SamplerOptions['sampler']
  steps?: number
}

/** Adds the flags that choose a sampler and its plan to a command. */
export function addSamplerOptions(command: Command): Command {
  return addPlanOptions(
    command
      .option('--sampler <name>', `${samplers.join(', ')} (default: the model's)`, parseChoice(samplers))
      .option(
        '--steps <n>',
        "number of steps; heun evaluates the model twice per step (default: the model's)",
        parseWholeNumber,
      ),
  )
}

/** Adds the flags that change the plan of any sampler to a command. */
export function addPlanOptions(command: Command): Command {
  return command
    .option(
      '--spacing <name>',
      `spacing of the timesteps: ${timestepSpacings.join(', ')}`,
      parseChoice(timestepSpacings),
    )
    .option(
      '--eta <η>',
      'ddim only: amount of noise, from 0 (deterministic) to 1 (like ddpm), or hat for the larger variance σ̂',
      parseEta,
    )
    .option(
      '--order <n>',
      'order of the solver: 1, 2 or 3 for dpmpp and unipc, 1 or 2 for sde-dpmpp',
      parseWholeNumber,
    )
    .option('--variance <kind>', `ddpm only: ${varianceTypes.join(', ')}`, parseChoice(varianceTypes))
    .option(
      '--epsilon <kind>',
      'ddim only: rederived (ε from the clamped x̂₀) or raw (ε from the unclamped output)',
      parseChoice(['rederived', 'raw']),
    )
}

function parseEta(text: string): number | 'hat' {
  return text === 'hat' ? 'hat' : parseNumber(text)
}

/**
 * Converts parsed flags to sampler options. Omitted flags add no option.
 * @throws UserError for an invalid order
 */
export function samplerOptionsOf({ sampler, steps, ...flags }: SamplerFlags): Partial<SamplerOptions> {
  return {
    ...(sampler && { sampler }),
    ...(steps !== undefined && { steps }),
    ...planOptionsOf(flags),
  }
}

/**
 * Converts the flags of `addPlanOptions` to sampler options. Omitted flags add no option.
 * @throws UserError for an invalid order
 */
export function planOptionsOf(flags: PlanFlags): Partial<SamplerOptions> {
  const { spacing, eta, order, variance, epsilon } = flags
  if (order !== undefined && order !== 1 && order !== 2 && order !== 3) {
    throw new UserError(`Invalid --order ${order}: expected 1, 2 or 3.`)
  }
  return {
    ...(spacing && { spacing }),
    ...(eta !== undefined && { eta }),
    ...(order && { order }),
    ...(variance && { varianceType: variance }),
    ...(epsilon && { epsilon }),
  }
}
