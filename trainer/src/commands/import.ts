import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type BetaSchedule, betaSchedules, paperSchedule, UserError } from '@ddpm/shared'
import { choice, runCommand, wholeNumber } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { z } from 'zod'
import { flatten, layoutOf, tablesOf } from '../network/parameters.ts'
import { defaultUNet, parameterSpecs } from '../network/unet.ts'
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
    "Takes weights that PyTorch trained: the network's state_dict as safetensors, and its arguments as JSON.",
  )
  .argument('<weights>', 'the .safetensors file')
  .requiredOption('--config <file>', "the network's arguments: base_channels, base_channels_multiples …")
  .option('--out <folder>', 'where the run goes (default: runs/NAME of the file)')
  .option('--size <pixels>', 'side of the pictures it draws', wholeNumber, 32)
  .option('--prediction <kind>', 'what it was trained to predict', choice(['epsilon', 'x0', 'v']), 'epsilon')
  .option('--schedule <name>', 'the noise schedule it was trained with', choice(betaSchedules), 'linear')
  .option('--classes <list>', 'names of its classes, comma-separated, where it has any')
  .addHelpText(
    'after',
    `
Save them in Python with:
  safetensors.torch.save_file(model.state_dict(), "mine.safetensors")
Example:
  npm run import -- mine.safetensors --config mine.json --size 64`,
  )
  .action(main)

const positive = z.int().positive()

/** The arguments of the original PyTorch module by their own names. */
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

function read(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new UserError(`Cannot read ${path}: ${(error as Error).message}.`)
  }
}

function readArguments(path: string): z.infer<typeof networkArguments> {
  let json: unknown
  try {
    json = JSON.parse(read(path).toString('utf8'))
  } catch (error) {
    if (error instanceof UserError) throw error
    throw new UserError(
      `${path} is not JSON (${(error as Error).message}); expected the network's arguments.`,
    )
  }
  const result = networkArguments.safeParse(json)
  if (result.success) return result.data
  throw new UserError(`${path} does not hold the network's arguments:\n${z.prettifyError(result.error)}`)
}

async function main(path: string, options: Options): Promise<void> {
  const given = readArguments(options.config)
  const { tensors } = decodeSafetensors(read(path), path)
  const name = basename(path).replace(/(\.weights)?\.safetensors$/, '')
  const folder = options.out ?? join('runs', name)
  if (existsSync(folder))
    throw new UserError(`${folder} is there already. Choose another place with --out, or remove it.`)
  if (given.input_channels !== given.output_channels) {
    throw new UserError(
      `Found ${given.input_channels} input and ${given.output_channels} output channels; they must be as many.`,
    )
  }

  const config: RunConfig = {
    version: 1,
    recipe: {
      ...recipes['images']!,
      recipe: 'import',
      data: path,
      size: options.size,
      baseChannels: given.base_channels,
      channelMultiples: given.base_channels_multiples,
      attention: given.apply_attention,
      numResBlocks: given.num_res_blocks,
      timeMultiple: given.time_multiple,
      dropout: given.dropout_rate,
      timesteps: tensors.get('time_embeddings.time_blocks.0.weight')?.shape[0] ?? paperSchedule.timesteps,
      betaSchedule: options.schedule,
      predictionType: options.prediction,
    },
    dataset: {
      name: basename(path),
      count: 0,
      channels: given.input_channels,
      height: options.size,
      width: options.size,
      classes: options.classes?.split(',').map((part) => part.trim()) ?? [],
    },
  }
  const layout = layoutOf(parameterSpecs(networkOf(config).unet))
  const parameters = flatten(layout, tensors, path)
  const state = initialState(parameters)
  writeRunConfig(folder, config)
  const checkpoint = saveCheckpoint(folder, layout, {
    progress: { step: 0, seconds: 0, loss: null, validationLoss: null },
    state,
    tables: tablesOf(layout, tensors),
  })
  console.log(
    `${layout.size.toLocaleString('en')} parameters in ${checkpoint}. ` +
      `Next: npm run sample -- ${folder}, npm run export -- ${folder}`,
  )
}

await runCommand(command)
