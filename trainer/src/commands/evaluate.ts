import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { openExtractor } from './evaluate/features.ts'
import { showNeighbours } from './evaluate/neighbours.ts'
import { addOptions, checkOptions, type Options } from './evaluate/options.ts'
import { openFolderInputs, openModelInputs } from './evaluate/samples.ts'
import { score } from './evaluate/score.ts'
import { likelihoodCommand } from './likelihood.ts'

const command = addOptions(
  new Command('npm run evaluate --').description(
    'Compares generated images with real ones: FID, KID, precision, recall, density and coverage, with error bars. For ' +
      'the built-in sets it also counts the images that are clean and show the requested class, and compares the ' +
      'distributions of what they show. After Ctrl+C, run the same command again to resume.',
  ),
)
  // Options after `likelihood` belong to that command, even if both commands have an option of the same name.
  .enablePositionalOptions()
  .addCommand(likelihoodCommand)
  .addHelpText(
    'after',
    `
Examples:
  npm run evaluate -- runs/mnist
  npm run evaluate -- runs/mnist --sampler ddim --steps 20 --guidance 1 --count 10000
  npm run evaluate -- runs/mine --features inception.onnx --features-size 299
  npm run evaluate -- runs/mine --neighbours 1000
  npm run evaluate -- runs/mine --samples samples/a samples/b     samples of several processes
  npm run evaluate -- --samples samples --data my/images
  npm run evaluate -- likelihood --help`,
  )
  .action(main)

async function main(path: string | undefined, options: Options): Promise<void> {
  checkOptions(path, options, command)
  const inputs =
    options.samples === undefined
      ? await openModelInputs(path!, options)
      : await openFolderInputs(path, options.samples, options)
  const extractor = await openExtractor(path, options, inputs)
  try {
    if (options.neighbours === undefined) await score(inputs, extractor, options)
    else await showNeighbours(inputs, extractor, options.neighbours)
  } finally {
    await extractor.dispose()
    await inputs.dispose()
  }
}

await runCommand(command)
