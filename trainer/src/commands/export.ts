import { join, resolve } from 'node:path'
import { modelName, UserError } from '@ddpm/shared'
import { choice, runCommand, wholeNumber } from '@ddpm/shared/command'
import { Command } from 'commander'
import { exportModel } from '../exporting.ts'
import type { WeightsKind } from '../inference.ts'
import { openCheckpoint, runName } from '../run.ts'

interface Options {
  out?: string
  name?: string
  description?: string
  licence: string
  weights: WeightsKind
  preview: number
}

const command = new Command('npm run export --')
  .description('Writes a trained model as ONNX with its manifest and a preview, ready to be published.')
  .argument('<run>', "a run's folder (its latest checkpoint) or one of its checkpoints")
  .option('--out <folder>', 'where to (default: RUN/export)')
  .option('--name <owner/name>', 'what the model is called (default: local/RUN)')
  .option('--description <text>', 'what it draws, in a sentence')
  .option('--licence <name>', 'under which it is given away', 'unspecified')
  .option('--weights <kind>', 'ema (averaged) or raw', choice(['ema', 'raw']), 'ema')
  .option('--preview <n>', 'pictures in the preview, 0 for none', wholeNumber, 16)
  .addHelpText(
    'after',
    `
Example:
  npm run export -- runs/mine --name me/kittens --licence CC-BY-4.0`,
  )
  .action(main)

async function main(path: string, options: Options): Promise<void> {
  const { run, path: file, checkpoint } = openCheckpoint(path)
  const name = options.name ?? `local/${runName(run)}`
  if (!modelName.safeParse(name).success) {
    throw new UserError(
      `Found the name "${name}"; expected owner/name made of letters, digits, ".", "-" and "_". Give one with --name.`,
    )
  }
  const folder = options.out ?? join(run.folder, 'export')
  const manifest = await exportModel(run, checkpoint, {
    folder,
    name,
    description: options.description ?? `Draws pictures like those of ${run.config.pictures.name}.`,
    licence: options.licence,
    weights: options.weights,
    preview: options.preview,
  })
  for (const { path: written, bytes } of manifest.files) {
    console.log(`${join(folder, written)}  ${(bytes / 1e6).toFixed(2)} MB`)
  }
  console.log(
    `Exported ${name} from ${file} (step ${checkpoint.progress.step}) to ${resolve(folder)}. ` +
      `Next: npm run publish -- ${run.folder}`,
  )
}

await runCommand(command)
