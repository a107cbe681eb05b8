import { join, resolve } from 'node:path'
import { type Dtype, dtypes, modelName, UserError } from '@ddpm/shared'
import { parseChoice, parseWholeNumber, quote, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { type ExportOptions, exportModel, exportTfjsModel } from '../export/export.ts'
import { exportPytorch } from '../export/pytorch.ts'
import { convertWithTf2onnx, requireTf2onnx } from '../export/tf2onnx.ts'
import { toTfjsModel, type WeightsKind } from '../inference/graph.ts'
import type { Checkpoint } from '../run/checkpoint.ts'
import { modelInfoOf, openCheckpoint, type Run, runName } from '../run/run.ts'
import { tensorflow } from '../setup/environments.ts'
import { installedPython } from '../setup/python.ts'

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
  python?: string
}

const command = new Command('npm run export --')
  .description(
    'Exports a trained model as ONNX and for PyTorch, with a manifest and a preview, ready to publish.',
  )
  .argument('<run>', "a run's folder (its latest checkpoint) or one of its checkpoints")
  .option('--out <folder>', 'output folder (default: RUN/export, or RUN/tfjs with --format tfjs)')
  .option('--name <owner/name>', 'name of the model (default: local/RUN)')
  .option('--description <text>', 'one sentence about what the model generates')
  .option('--licence <name>', 'licence of the model', 'unspecified')
  .option('--weights <kind>', 'ema (averaged) or raw', parseChoice(['ema', 'raw']), 'ema')
  .option('--preview <n>', 'number of images in the preview, 0 for none', parseWholeNumber, 16)
  .option(
    '--format <format>',
    'onnx, or tfjs: a TensorFlow.js graph model (model.json and shards)',
    parseChoice(['onnx', 'tfjs']),
    'onnx',
  )
  .option(
    '--dtype <type>',
    'fp16 writes a second ONNX file of half the size with half-precision weights, for slow connections',
    parseChoice(dtypes),
    'fp32',
  )
  .option(
    '--via <tool>',
    'tf2onnx: convert the TensorFlow.js graph model to ONNX with the Python package tf2onnx, and check its predictions',
    parseChoice(['tf2onnx']),
  )
  .option(
    '--python <program>',
    'Python with TensorFlow and tf2onnx (default: that of npm run setup -- tf2onnx, or else python3)',
  )
  .addHelpText(
    'after',
    `
Examples:
  npm run export -- runs/mine --name me/kittens --licence CC-BY-4.0
  npm run export -- runs/mine --dtype fp16     with a second file of half the size
  npm run export -- runs/mine --format tfjs    for tf.loadGraphModel
  npm run export -- runs/mine --via tf2onnx    after npm run setup -- tf2onnx; without --via no Python is needed`,
  )
  .action(main)

async function main(path: string, options: Options): Promise<void> {
  checkOptions(options)
  const { run, path: file, checkpoint } = openCheckpoint(path)
  const name = options.name ?? `local/${runName(run)}`
  if (!modelName.safeParse(name).success) {
    throw new UserError(
      `Invalid model name "${name}": expected owner/name made of letters, digits, ".", "-" and "_". ` +
        'Pass a valid name with --name.',
    )
  }
  const described = {
    folder: options.out ?? join(run.folder, options.format === 'tfjs' ? 'tfjs' : 'export'),
    name,
    description: options.description ?? `Generates images like those of ${run.config.dataset.name}.`,
    licence: options.licence,
    weights: options.weights,
  }
  const origin = `Exported ${name} from ${file} (step ${checkpoint.progress.step})`
  if (options.format === 'tfjs') exportTfjs(run, checkpoint, described, origin)
  else await exportOnnx(run, checkpoint, described, options, origin)
}

/** @throws UserError for options that exclude each other */
function checkOptions({ format, via, dtype }: Options): void {
  const conflict = (a: string, b: string, reason: string) =>
    new UserError(`Conflicting ${a} and ${b}: ${reason}. Remove one of them.`)
  if (format === 'tfjs' && via) {
    throw conflict('--via tf2onnx', '--format tfjs', 'tf2onnx makes an ONNX file')
  }
  if (dtype === 'fp32') return
  if (format === 'tfjs') {
    throw conflict(`--dtype ${dtype}`, '--format tfjs', 'only ONNX files have half-precision weights')
  }
  if (via) throw conflict(`--dtype ${dtype}`, `--via ${via}`, `${via} writes only single-precision weights`)
}

type Described = Omit<ExportOptions, 'preview' | 'dtype'>

function exportTfjs(run: Run, checkpoint: Checkpoint, described: Described, origin: string): void {
  const { folder } = described
  const files = exportTfjsModel(run, checkpoint, described)
  list(
    folder,
    files.map(({ path, bytes }) => ({ path, bytes: bytes.length })),
  )
  console.log(
    `${origin} to ${resolve(folder)}. Open it with tf.loadGraphModel('…/model.json'). ` +
      'Inputs: x [N, C, H, W], timestep [N] and label [N]. Output: output.',
  )
}

async function exportOnnx(
  run: Run,
  checkpoint: Checkpoint,
  described: Described,
  options: Options,
  origin: string,
): Promise<void> {
  const { preview, dtype, via } = options
  const convert = via && (await tf2onnxConverter(run, checkpoint, options))
  const manifest = await exportModel(run, checkpoint, { ...described, preview, dtype }, convert)
  const pytorchFolder = join(described.folder, 'pytorch')
  const pytorch = exportPytorch(run, checkpoint, { folder: pytorchFolder, weights: described.weights })
  list(described.folder, manifest.files)
  list(pytorchFolder, pytorch.files)
  if (pytorch.obstacle !== null) {
    console.log(
      `diffusers cannot load this network: ${pytorch.obstacle}. ` +
        `${pytorchFolder} has the weights with the names of the original PyTorch network instead.`,
    )
  }
  console.log(
    `${origin}${via ? ` with ${via}` : ''} to ${resolve(described.folder)}. ` +
      `Next: npm run publish -- ${quote(run.folder)}`,
  )
}

async function tf2onnxConverter(
  { config }: Run,
  checkpoint: Checkpoint,
  { python = installedPython(tensorflow) ?? 'python3', weights }: Options,
) {
  await requireTf2onnx(python)
  const model = toTfjsModel(config, checkpoint, weights)
  return (plain: Uint8Array) => {
    console.log('Converting with tf2onnx …')
    return convertWithTf2onnx(python, model, modelInfoOf(config), plain)
  }
}

function list(folder: string, files: readonly { path: string; bytes: number }[]): void {
  for (const { path, bytes } of files) console.log(`${join(folder, path)}  ${(bytes / 1e6).toFixed(2)} MB`)
}

await runCommand(command)
