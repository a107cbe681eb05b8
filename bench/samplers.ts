import { UserError } from '@ddpm/shared'
import { runCommand, wholeNumber } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { type Convergence, measureConvergence } from '../test/support/convergence.ts'

const command = new Command('npm run bench:samplers --')
  .description(
    'Shows how fast each sampler converges to exact solutions, and the order that its paper claims.',
  )
  .option(
    '--steps <list>',
    'numbers of steps, rising',
    (text) => text.split(',').map(wholeNumber),
    [16, 32, 64, 128, 256, 512],
  )
  .addHelpText(
    'after',
    `
Data is a mixture of two normal distributions on the line, for which the best network is known in closed form. The
probability-flow ODE then moves points by quantiles: samplers that follow it are held to that, the others to mean
and deviation of a normal distribution at the end, carried through their rows exactly. λ goes evenly from −5 to 2,
unclamped, without lower order in the last steps. The order is how the error falls between the last two columns.

Example:
  npm run bench:samplers -- --steps 8,16,32`,
  )
  .action(main)

function main({ steps }: { steps: number[] }): void {
  if (steps.length < 2 || steps.some((count, i) => count < 2 || (i > 0 && count <= steps[i - 1]!))) {
    throw new UserError(`Found --steps ${steps}; expected at least two rising numbers from 2 on.`)
  }
  const { flows, diffusions } = measureConvergence(steps)
  table('Probability-flow ODE: error of x at the end', flows)
  table('With noise: error of mean and deviation at the end', diffusions)

  function table(title: string, rows: readonly Convergence[]): void {
    console.log(`\n| ${[title, 'claims', ...steps, 'found'].join(' | ')} |`)
    console.log(`|${' --- |'.repeat(steps.length + 3)}`)
    for (const { name, order, errors, found } of rows) {
      const cells = [name, order, ...errors.map((error) => error.toExponential(1)), found.toFixed(2)]
      console.log(`| ${cells.join(' | ')} |`)
    }
  }
}

await runCommand(command)
