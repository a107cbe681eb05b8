import { UserError } from '@ddpm/shared'
import { parseWholeNumber, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { type Convergence, measureConvergence } from '../test/support/convergence.ts'

const command = new Command('npm run bench:samplers --')
  .description(
    'Measures how fast each sampler converges to exact solutions, and compares this with the order that its paper states.',
  )
  .option(
    '--steps <list>',
    'increasing numbers of steps',
    (text) => text.split(',').map(parseWholeNumber),
    [16, 32, 64, 128, 256, 512],
  )
  .addHelpText(
    'after',
    `
The data is a mixture of two normal distributions in one dimension. Its best prediction is known in closed form, and the
probability-flow ODE maps quantiles to quantiles. Deterministic samplers are compared with this exact solution. For
samplers that add noise the data is a normal distribution: the mean and standard deviation of x are propagated exactly
through the rows of the plan and compared with the exact values. λ runs from −5 to 2 in equal steps, without clamping and
without a lower order in the last steps. The measured order is computed from the errors in the last two columns.

Example:
  npm run bench:samplers -- --steps 8,16,32`,
  )
  .action(main)

function main({ steps }: { steps: number[] }): void {
  if (steps.length < 2 || steps.some((count, i) => count < 2 || (i > 0 && count <= steps[i - 1]!))) {
    throw new UserError(`Invalid --steps "${steps}": expected at least two increasing numbers of at least 2.`)
  }
  const { flows, diffusions } = measureConvergence(steps)
  table('Probability-flow ODE: error of x at the end', flows)
  table('With noise: error of mean and standard deviation at the end', diffusions)

  function table(title: string, rows: readonly Convergence[]): void {
    console.log(`\n| ${[title, 'expected order', ...steps, 'measured order'].join(' | ')} |`)
    console.log(`|${' --- |'.repeat(steps.length + 3)}`)
    for (const { name, order, errors, measuredOrder } of rows) {
      const cells = [name, order, ...errors.map((error) => error.toExponential(1)), measuredOrder.toFixed(2)]
      console.log(`| ${cells.join(' | ')} |`)
    }
  }
}

await runCommand(command)
