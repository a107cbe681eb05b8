import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { dryRun } from './train/dry-run.ts'
import { addOptions, type Options } from './train/options.ts'
import { prepareNew } from './train/prepare.ts'
import { prepareResumed } from './train/resume.ts'
import { trainRun } from './train/run.ts'

const command = new Command('npm run train --')
  .description('Trains a model on images and saves checkpoints, samples and metrics in a run folder.')
  .addHelpText(
    'after',
    `
Examples:
  npm run train                                       the built-in shapes
  npm run train -- --data my/images --out runs/mine   a folder of images
  npm run train -- --data my/images --dry-run         look at the images and the cost first
  npm run train -- --data my/images --time 8h         as well as possible within a time
  npm run train -- --recipe mnist --data data/mnist --dashboard
  npm run train -- --recipe cifar10 --data data/cifar-10-batches-bin --steps 100000
  npm run train -- --data my/cats --from runs/mine    fine-tune a model on other images
  npm run train -- --resume runs/mine                 resume after Ctrl+C`,
  )
  .action(async (options: Options) => {
    const prepared = await (options.resume === undefined
      ? prepareNew(options)
      : prepareResumed(options.resume, options))
    await (options.dryRun ? dryRun : trainRun)(prepared, options)
  })
addOptions(command)

await runCommand(command)
