import { join } from 'node:path'
import { formatPlan, planFor, samplers, timestepSpacings } from '@ddpm/shared'
import { choice, realNumber, runCommand, wholeNumber } from '@ddpm/shared/command'
import { Command } from 'commander'
import { writeAtomically } from '../files.ts'
import { draw, openModel, type WeightsKind } from '../inference.ts'
import { gridPng } from '../pictures.ts'
import { progressBar } from './progress.ts'

interface Options {
  out: string
  count: number
  seed: number
  sampler?: (typeof samplers)[number]
  steps?: number
  spacing?: (typeof timestepSpacings)[number]
  eta?: number
  variance?: 'fixedSmall' | 'fixedLarge'
  epsilon?: 'rederived' | 'raw'
  class?: string
  guidance?: number
  weights: WeightsKind
  columns?: number
  scale: number
  plan?: true
}

const command = new Command('npm run sample --')
  .description(
    'Draws pictures from a trained run, one of its checkpoints, or an exported model, as a grid PNG.',
  )
  .argument('<model>', 'a folder made by train, import or export, or a checkpoint file')
  .option('--out <file>', 'the PNG', 'samples.png')
  .option('--count <n>', 'number of pictures', wholeNumber, 64)
  .option('--seed <n>', 'picture i of a seed is the same on every machine', wholeNumber, 0)
  .option('--sampler <name>', `${samplers.join(', ')} (default: the model's)`, choice(samplers))
  .option('--steps <n>', "network evaluations (default: the model's)", wholeNumber)
  .option('--spacing <name>', timestepSpacings.join(', '), choice(timestepSpacings))
  .option('--eta <η>', 'DDIM: 0 is deterministic, 1 as noisy as DDPM', realNumber)
  .option('--variance <kind>', 'DDPM: fixedSmall or fixedLarge', choice(['fixedSmall', 'fixedLarge']))
  .option('--epsilon <kind>', 'DDIM after clamping: rederived or raw', choice(['rederived', 'raw']))
  .option('--class <name>', 'draw only this class')
  .option('--guidance <scale>', 'classifier-free guidance, 1 for none', realNumber)
  .option(
    '--weights <kind>',
    'ema (averaged) or raw; exported models have one kind',
    choice(['ema', 'raw']),
    'ema',
  )
  .option('--columns <n>', 'pictures per row', wholeNumber)
  .option('--scale <n>', 'pixels per pixel', wholeNumber, 2)
  .option('--plan', "print the sampler's table of coefficients and stop")
  .addHelpText(
    'after',
    `
Examples:
  npm run sample -- runs/shapes
  npm run sample -- runs/mnist --class 7 --guidance 2 --count 16 --out sevens.png
  npm run sample -- runs/mnist --sampler ddpm --steps 1000 --seed 5
  npm run sample -- runs/shapes --steps 10 --plan`,
  )
  .action(main)

async function main(path: string, options: Options): Promise<void> {
  const model = await openModel(path, options.weights)
  const sampling = {
    ...(options.sampler && { sampler: options.sampler }),
    ...(options.steps && { steps: options.steps }),
    ...(options.spacing && { spacing: options.spacing }),
    ...(options.eta !== undefined && { eta: options.eta }),
    ...(options.variance && { varianceType: options.variance }),
    ...(options.epsilon && { epsilon: options.epsilon }),
  }
  const plan = planFor(model.facts, sampling)
  if (options.plan) {
    console.log(formatPlan(plan))
    return
  }
  console.log(`${model.description}; ${plan.name}, ${plan.rows.length} steps, seed ${options.seed}`)

  const bar = progressBar('Drawing')
  const pictures = await draw(
    model.facts,
    model.network,
    {
      ...sampling,
      seed: options.seed,
      count: options.count,
      className: options.class ?? null,
      ...(options.guidance !== undefined && { guidance: options.guidance }),
    },
    (done, total) => bar.show(done, total),
  )
  bar.end()
  await model.dispose()
  const { columns, scale } = options
  writeAtomically(
    join(options.out),
    await gridPng(pictures, model.facts.shape, { scale, ...(columns && { columns }) }),
  )
  console.log(`${options.count} pictures in ${options.out}`)
}

await runCommand(command)
