import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { begin } from './train/begin.ts'
import { addOptions, type Options } from './train/options.ts'
import { carryOut } from './train/run.ts'

const command = new Command('npm run train --')
  .description('Trains a model on pictures and leaves it, with samples and metrics, in a folder.')
  .addHelpText(
    'after',
    `
Examples:
  npm run train                                       the built-in shapes
  npm run train -- --data my/pictures --out runs/mine a folder of pictures
  npm run train -- --recipe mnist --data data/mnist --dashboard
  npm run train -- --recipe cifar10 --data data/cifar-10-batches-bin --steps 100000
  npm run train -- --resume runs/mine                 after Ctrl+C`,
  )
  .action(async (options: Options) => carryOut(await begin(options), options))
addOptions(command)

await runCommand(command)
