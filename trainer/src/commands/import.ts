import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type BetaSchedule, betaSchedules, paperSchedule, UserError } from '@ddpm/shared'
import { parseChoice, parseWholeNumber, quote, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { z } from 'zod'
import { defaultUNet } from '../network/config.ts'
import { createParameterLayout, createTables, flatten, type NamedTensors } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import { saveCheckpoint } from '../run/checkpoint.ts'
import { recipes } from '../run/recipes.ts'
import { networkOf, type RunConfig, writeRunConfig } from '../run/run.ts'
import { decodeSafetensors } from '../run/safetensors.ts'
import { initialState } from '../step/engine.ts'

interface Options {
  config: string
  out?: string
  size: number
  prediction: 'epsilon' | 'x0' | 'v'
  schedule: BetaSchedule
  classes?: string
}

const command = new Command('npm run import --')
  .description(
    "Imports weights trained with PyTorch: the network's state_dict as safetensors, and its arguments as JSON.",
  )
  .argument('<weights>', 'the .safetensors file')
  .requiredOption('--config <file>', "the network's arguments: base_channels, base_channels_multiples …")
  .option('--out <folder>', 'folder of the new run (default: runs/ and the name of the file)')
  .option('--size <pixels>', 'width and height of the images that the model generates', parseWholeNumber, 32)
  .option(
    '--prediction <kind>',
    'what the network predicts: epsilon, x0 or v',
    parseChoice(['epsilon', 'x0', 'v']),
    'epsilon',
  )
  .option(
    '--schedule <name>',
    `noise schedule of the training: ${betaSchedules.join(', ')}`,
    parseChoice(betaSchedules),
    'linear',
  )
  .option('--classes <list>', 'class names, separated by commas (default: none)')
  .addHelpText(
    'after',
    `
Save the weights in Python with:
  safetensors.torch.save_file(model.state_dict(), "mine.safetensors")
Example:
  npm run import -- mine.safetensors --config mine.json --size 64`,
  )
  .action(main)

async function main(path: string, options: Options): Promise<void> {
  const network = readArguments(options.config)
  const tensors = readWeights(path)
  const name = basename(path).replace(/(\.weights)?\.safetensors$/, '')
  const folder = options.out ?? join('runs', name)
  if (existsSync(folder)) {
    throw new UserError(`${folder} already exists. Choose another folder with --out, or remove this one.`)
  }
  if (network.input_channels !== network.output_channels) {
    throw new UserError(
      `Invalid output_channels ${network.output_channels} in ${options.config}: expected ${network.input_channels}, the ` +
        'same as input_channels.',
    )
  }

  const timesteps = tensors.get('time_embeddings.time_blocks.0.weight')?.shape[0] ?? paperSchedule.timesteps
  const config = runConfig(path, network, timesteps, options)
  const layout = createParameterLayout(parameterSpecs(networkOf(config).unet))
  const state = initialState(flatten(layout, tensors, path))
  writeRunConfig(folder, config)
  const checkpoint = saveCheckpoint(folder, layout, {
    progress: { step: 0, seconds: 0, loss: null, validationLoss: null },
    state,
    tables: createTables(layout, tensors),
  })
  console.log(
    `Imported ${layout.size.toLocaleString('en')} parameters to ${checkpoint}. ` +
      `Next: npm run sample -- ${quote(folder)} or npm run export -- ${quote(folder)}`,
  )
}

function runConfig(
  path: string,
  network: NetworkArguments,
  timesteps: number,
  { size, schedule, prediction, classes }: Options,
): RunConfig {
  return {
    version: 1,
    recipe: {
      ...recipes['images']!,
      recipe: 'import',
      data: path,
      size,
      baseChannels: network.base_channels,
      channelMultiples: network.base_channels_multiples,
      attention: network.apply_attention,
      numResBlocks: network.num_res_blocks,
      timeMultiple: network.time_multiple,
      dropout: network.dropout_rate,
      timesteps,
      betaSchedule: schedule,
      predictionType: prediction,
    },
    dataset: {
      name: basename(path),
      count: 0,
      channels: network.input_channels,
      height: size,
      width: size,
      classes: classes?.split(',').map((part) => part.trim()) ?? [],
    },
  }
}

const positive = z.int().positive()

/** Prefixes that PyTorch wrappers put before every name: DataParallel, torch.compile, Lightning. */
const wrapperPrefixes = ['module.', '_orig_mod.', 'model.']

function readWeights(path: string): NamedTensors {
  const bytes = read(path)
  // torch.save writes a ZIP archive, and wrote a plain pickle before PyTorch 1.6.
  if (bytes.subarray(0, 4).toString('latin1') === 'PK\x03\x04' || (bytes[0] === 0x80 && bytes[1]! <= 5)) {
    throw new UserError(
      `${path} is a PyTorch pickle: expected safetensors. Convert it in Python:\n` +
        '  import torch, safetensors.torch\n' +
        `  state = torch.load(${JSON.stringify(path)}, map_location="cpu", weights_only=True)\n` +
        `  safetensors.torch.save_file(state, ${JSON.stringify(`${path.replace(/\.\w+$/, '')}.safetensors`)})\n` +
        'If the file contains more than the state_dict, save only that part, for example state["model"].',
    )
  }
  const { tensors } = decodeSafetensors(bytes, path)
  const names = [...tensors.keys()]
  const prefix = wrapperPrefixes.find((each) => names.every((name) => name.startsWith(each))) ?? ''
  return new Map([...tensors].map(([name, tensor]) => [name.slice(prefix.length), tensor]))
}

/** The arguments of the original PyTorch module, with their Python names. */
const networkArguments = z.strictObject({
  input_channels: positive.default(defaultUNet.inputChannels),
  output_channels: positive.default(defaultUNet.outputChannels),
  num_res_blocks: positive.default(defaultUNet.numResBlocks),
  base_channels: positive.default(defaultUNet.baseChannels),
  base_channels_multiples: z.array(positive).default([...defaultUNet.channelMultiples]),
  apply_attention: z.array(z.boolean()).default([...defaultUNet.attention]),
  dropout_rate: z.number().default(defaultUNet.dropout),
  time_multiple: positive.default(defaultUNet.timeMultiple),
})
type NetworkArguments = z.infer<typeof networkArguments>

function readArguments(path: string): NetworkArguments {
  const text = read(path).toString('utf8')
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new UserError(
      `Invalid ${path}: expected the network's arguments as JSON (${(error as Error).message}).`,
    )
  }
  const result = networkArguments.safeParse(json)
  if (result.success) return result.data
  throw new UserError(`Invalid ${path}: expected the network's arguments.\n${z.prettifyError(result.error)}`)
}

function read(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${(error as Error).message}.`)
  }
}

await runCommand(command)
