import { join, resolve } from 'node:path'
import { type Dtype, dtypes, modelName, UserError } from '@ddpm/shared'
import { choice, runCommand, wholeNumber } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { exportGraphModel, exportModel } from '../export/export.ts'
import { toGraphModel, type WeightsKind } from '../export/inference.ts'
import { convertWithTf2onnx, requireTf2onnx } from '../export/tf2onnx.ts'
import type { Checkpoint } from '../run/checkpoint.ts'
import { modelInfoOf, openCheckpoint, type Run, runName } from '../run/run.ts'

interface Options {
  out?: string
  name?: string
  description?: string
  licence: string
  weights: WeightsKind
  preview: number
  format: 'onnx' | 'tfjs'
  dtype: Dtype
  via?: 'tf2onnx'
  python: string
}

const command = new Command('npm run export --')
  .description('Writes a trained model as ONNX with its manifest and a preview, ready to be published.')
  .argument('<run>', "a run's folder (its latest checkpoint) or one of its checkpoints")
  .option('--out <folder>', 'where to (default: RUN/export; with --format tfjs RUN/tfjs)')
  .option('--name <owner/name>', 'what the model is called (default: local/RUN)')
  .option('--description <text>', 'what it draws, in a sentence')
  .option('--licence <name>', 'under which it is given away', 'unspecified')
  .option('--weights <kind>', 'ema (averaged) or raw', choice(['ema', 'raw']), 'ema')
  .option('--preview <n>', 'pictures in the preview, 0 for none', wholeNumber, 16)
  .option(
    '--format <format>',
    'onnx, or tfjs: a TensorFlow.js graph model (model.json and shards)',
    choice(['onnx', 'tfjs']),
    'onnx',
  )
  .option(
    '--dtype <type>',
    'fp16 writes a second ONNX file of half the size, with weights in half precision, for visitors with little to spare',
    choice(dtypes),
    'fp32',
  )
  .option(
    '--via <tool>',
    "tf2onnx: make the ONNX file with Python's tf2onnx from the TensorFlow.js graph model, and check it against our own",
    choice(['tf2onnx']),
  )
  .option('--python <program>', 'the Python that has TensorFlow and tf2onnx', 'python3')
  .addHelpText(
    'after',
    `
Examples:
  npm run export -- runs/mine --name me/kittens --licence CC-BY-4.0
  npm run export -- runs/mine --dtype fp16     and a file of half the size beside it
  npm run export -- runs/mine --format tfjs    for tf.loadGraphModel
  npm run export -- runs/mine --via tf2onnx    wants TensorFlow 2.13 to 2.15; plain export wants no Python at all`,
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
  const described = {
    name,
    description: options.description ?? `Draws pictures like those of ${run.config.dataset.name}.`,
    licence: options.licence,
    weights: options.weights,
  }
  const origin = `Exported ${name} from ${file} (step ${checkpoint.progress.step})`
  if (options.format === 'tfjs') {
    if (options.via) throw new UserError('--via tf2onnx makes ONNX: leave it out, or --format tfjs.')
    if (options.dtype !== 'fp32')
      throw new UserError(`--dtype ${options.dtype} is of ONNX files: leave it out, or --format tfjs.`)
    const folder = options.out ?? join(run.folder, 'tfjs')
    const files = exportGraphModel(run, checkpoint, { ...described, folder })
    list(
      folder,
      files.map(({ path, bytes }) => ({ path, bytes: bytes.length })),
    )
    console.log(
      `${origin} to ${resolve(folder)}. It opens with tf.loadGraphModel('…/model.json'): ` +
        'x [N, C, H, W], timestep [N] and label [N] in, output out.',
    )
    return
  }
  if (options.via && options.dtype !== 'fp32')
    throw new UserError(
      `--dtype ${options.dtype} does not go through --via ${options.via}: leave one of them out.`,
    )
  const folder = options.out ?? join(run.folder, 'export')
  const convert = options.via && (await tf2onnxConverter(run, checkpoint, options))
  const manifest = await exportModel(
    run,
    checkpoint,
    { ...described, folder, preview: options.preview, dtype: options.dtype },
    convert,
  )
  list(folder, manifest.files)
  console.log(
    `${origin}${options.via ? ` through ${options.via}` : ''} to ${resolve(folder)}. ` +
      `Next: npm run publish -- ${run.folder}`,
  )
}

async function tf2onnxConverter({ config }: Run, checkpoint: Checkpoint, { python, weights }: Options) {
  await requireTf2onnx(python)
  const model = toGraphModel(config, checkpoint, weights)
  return (plain: Uint8Array) => {
    console.log('tf2onnx is converting; this takes a moment …')
    return convertWithTf2onnx(python, model, modelInfoOf(config), plain)
  }
}

function list(folder: string, files: readonly { path: string; bytes: number }[]): void {
  for (const { path, bytes } of files) console.log(`${join(folder, path)}  ${(bytes / 1e6).toFixed(2)} MB`)
}

await runCommand(command)
