import { UserError } from '@ddpm/shared'
import { parseChoice, parseNumber, parseWholeNumber } from '@ddpm/shared/cli'
import type { Command } from 'commander'
import { type Split, splits } from '../../evaluation/inputs/images.ts'
import { compareDefaults } from '../../evaluation/metrics/compare.ts'
import type { WeightsKind } from '../../inference/graph.ts'
import { addSamplerOptions, type SamplerFlags } from '../terminal/sampler-options.ts'

export interface Options extends SamplerFlags {
  samples?: string[]
  data?: string
  split?: Split
  count?: number
  reference: number
  guidance?: number
  class?: string
  seed: number
  weights: WeightsKind
  features?: string
  featuresSha256?: string
  featuresSize: number
  featuresMean: number[]
  featuresStd: number[]
  featuresOutput?: string
  nearest: number
  bootstrap: number
  neighbours?: number | true
  out?: string
}

const numberList = (text: string) => text.split(',').map(parseNumber)

/** Adds the arguments and options of `npm run evaluate`. */
export function addOptions(command: Command): Command {
  return addSamplerOptions(
    command
      .argument(
        '[model]',
        "a run's folder, one of its checkpoints, or an exported model; optional with --samples and --data",
      )
      .option('--samples <folders...>', 'evaluate the images of these folders instead of generating images')
      .option('--data <source>', "real images, as for train --data (default: the run's own)")
      .option(
        '--split <name>',
        `${splits.join(', ')} (default: train of the run's own images, all of --data)`,
        parseChoice(splits),
      )
      .option(
        '--count <n>',
        'number of images to generate (default: 2000), or of --samples to use (default: all)',
        parseWholeNumber,
      )
      .option('--reference <n>', 'max number of real images, selected at random', parseWholeNumber, 10_000),
  )
    .option('--guidance <scale>', "classifier-free guidance, 1 for none (default: the model's)", parseNumber)
    .option('--class <name>', 'generate only this class')
    .option(
      '--seed <n>',
      'seed of the samples, the selection of real images and the bootstrap',
      parseWholeNumber,
      0,
    )
    .option(
      '--weights <kind>',
      'ema (averaged) or raw; exported models have one kind',
      parseChoice(['ema', 'raw']),
      'ema',
    )
    .option(
      '--features <file.onnx>',
      'feature extractor (default: a classifier that is trained on the labelled images, or a random network if there are no labels)',
    )
    .option('--features-sha256 <hash>', 'expected SHA-256 of the --features file: another file is an error')
    .option(
      '--features-size <pixels>',
      'width and height of the input images of the extractor',
      parseWholeNumber,
      299,
    )
    .option(
      '--features-mean <list>',
      'mean to subtract from pixel values in 0 … 1: one number, or one per channel',
      numberList,
      [0.5],
    )
    .option(
      '--features-std <list>',
      'standard deviation to divide by after that: one number, or one per channel',
      numberList,
      [0.5],
    )
    .option('--features-output <name>', 'output of the extractor (default: the first)')
    .option(
      '--nearest <k>',
      'number of nearest neighbours (k) for precision, recall, density and coverage',
      parseWholeNumber,
      compareDefaults.neighbours,
    )
    .option(
      '--bootstrap <n>',
      'number of replicates for the error bars, 0 for none',
      parseWholeNumber,
      compareDefaults.replicates,
    )
    .option(
      '--neighbours [n]',
      'instead of scores, count how many of n samples (default: 16, or all of --samples) are copies of real images, and ' +
        'write a PNG of samples above their nearest real images, by pixels and by features',
      parseWholeNumber,
    )
    .option(
      '--out <folder>',
      'output folder, also for cached samples (default: MODEL/evaluation, or evaluation without a model)',
    )
}

/** Options that determine how a model generates images. */
const generationOptions = [
  ...['sampler', 'steps', 'spacing', 'eta', 'order', 'variance', 'epsilon'],
  ...['guidance', 'class', 'weights'],
]

/** @throws UserError for a number that is 0, missing inputs, or options that exclude each other */
export function checkOptions(path: string | undefined, options: Options, command: Command): void {
  const { samples, data, split, features, featuresSha256 } = options
  for (const name of ['nearest', 'neighbours', 'count', 'reference'] as const) {
    if (options[name] === 0) throw new UserError(`Invalid --${name} 0: expected a positive integer.`)
  }
  if (featuresSha256 !== undefined && features === undefined)
    throw new UserError('Missing --features: --features-sha256 is the hash of that file.')
  if (featuresSha256 !== undefined && !/^[\da-f]{64}$/i.test(featuresSha256))
    throw new UserError(`Invalid --features-sha256 "${featuresSha256}": expected 64 hexadecimal digits.`)
  if (samples === undefined) {
    if (path !== undefined) return
    throw new UserError(
      'Missing model: pass a run, a checkpoint or an exported model, or folders with --samples.',
    )
  }
  const conflict = generationOptions.find((name) => command.getOptionValueSource(name) === 'cli')
  if (conflict !== undefined) {
    throw new UserError(
      `Conflicting --samples and --${conflict}: --samples are generated already. Remove --${conflict}, or remove --samples ` +
        'to generate images.',
    )
  }
  if (path !== undefined) return
  if (data === undefined)
    throw new UserError('Missing --data: without a model, --samples are compared with the images of --data.')
  if (split !== undefined && split !== 'all') {
    throw new UserError(
      `Invalid --split ${split}: only the images of a run have a training and a validation set. Pass the run, or remove --split.`,
    )
  }
}
