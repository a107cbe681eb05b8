import { formatPlan, planFor } from '@ddpm/shared'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { noiseBars, noiseSvg } from '../image/noise-chart.ts'
import { openPlanSource } from '../run/plan-source.ts'
import { writeAtomically } from '../support/files.ts'
import { addSamplerOptions, type SamplerFlags, samplerOptionsOf } from './terminal/sampler-options.ts'

interface Options extends SamplerFlags {
  svg?: string
  chart: boolean
}

const command = addSamplerOptions(
  new Command('npm run plan --')
    .description("Prints a sampler's table of coefficients and a chart of its noise levels.")
    .argument(
      '[source]',
      "a run's folder, an exported model, a manifest.json, or a scheduler_config.json of diffusers (default: the schedule of the DDPM paper)",
    ),
)
  .option('--svg <file>', 'write the chart of the noise levels to an SVG file as well')
  .option('--no-chart', 'print only the table')
  .addHelpText(
    'after',
    `
Each row updates x: x ← a·x + b·x0 + Σ c·x0₋ + e·output + d·z, with x0 = clamp(p·x + q·output).
x0₋: x0 of earlier rows; output: output of the model; z: standard normal noise.

Examples:
  npm run plan -- runs/shapes --sampler unipc --order 3 --steps 10
  npm run plan -- --sampler dpmpp --spacing karras --steps 20 --svg levels.svg
  npm run plan -- downloaded/scheduler/scheduler_config.json --steps 25
Use npm run bench:samplers to measure how fast the samplers converge.`,
  )
  .action(main)

function main(path: string | undefined, { svg, chart, ...flags }: Options): void {
  const plan = planFor(openPlanSource(path), samplerOptionsOf(flags))
  console.log(formatPlan(plan))
  if (chart) console.log(`\n${noiseBars(plan)}`)
  if (svg === undefined) return
  writeAtomically(svg, noiseSvg(plan))
  console.log(`\nWrote the noise levels to ${svg}`)
}

await runCommand(command)
