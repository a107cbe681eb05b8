import {
  countEvaluations,
  defaultJumps,
  type GenerateOptions,
  type ModelInfo,
  planFor,
  UserError,
} from '@ddpm/shared'
import { parseChoice, parseNumber, parseWholeNumber, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { readStartingImages } from '../data/starting-images.ts'
import { createFrameRecorder } from '../image/frames.ts'
import { type ImageOutput, openImageOutput, writeImages } from '../image/image-files.ts'
import type { WeightsKind } from '../inference/graph.ts'
import { type OpenedModel, openModel } from '../inference/model.ts'
import { reconstruct } from '../inference/reconstruction.ts'
import { sample } from '../inference/sample.ts'
import { startingPoint } from '../inference/starting-point.ts'
import { timedProgress } from './terminal/progress.ts'
import { addSamplerOptions, type SamplerFlags, samplerOptionsOf } from './terminal/sampler-options.ts'

interface Options extends SamplerFlags {
  out: string
  count: number
  first: number
  seed: number
  class?: string
  guidance?: number
  guidanceRescale?: number
  weights: WeightsKind
  columns?: number
  scale?: number
  from?: string
  strength?: number
  mask?: string
  jump: number
  resample: number
  invert?: true
  toSeed?: number
}

const command = addSamplerOptions(
  new Command('npm run sample --')
    .description('Generates images from a trained run, a checkpoint or an exported model.')
    .argument('<model>', 'a folder made by train, import or export, or a checkpoint file')
    .option(
      '--out <path>',
      'output: a grid of images (.png), a grid animated over the denoising steps (.gif), or a folder for single PNGs ' +
        '(a path without extension)',
      'samples.png',
    )
    .option('--count <n>', 'number of images', parseWholeNumber, 64)
    .option(
      '--first <n>',
      'index of the first image: image n of a seed is the same in every command, so several machines can share a set',
      parseWholeNumber,
      0,
    )
    .option('--seed <n>', 'the same seed gives the same images on every machine', parseWholeNumber, 0),
)
  .option('--class <name>', 'generate only this class')
  .option('--guidance <scale>', 'classifier-free guidance, 1 for none', parseNumber)
  .option('--guidance-rescale <φ>', 'guidance rescale φ (Lin et al. 2023), 0 to 1', parseNumber)
  .option(
    '--weights <kind>',
    'ema (averaged) or raw; exported models have one kind',
    parseChoice(['ema', 'raw']),
    'ema',
  )
  .option('--columns <n>', 'images per row of the grid', parseWholeNumber)
  .option(
    '--scale <n>',
    'enlarges every pixel to n×n pixels (default: 2, or 1 for single images)',
    parseWholeNumber,
  )
  .option(
    '--from <images>',
    'start from an image (used --count times) or from the first images of a dataset, as for train --data',
  )
  .option(
    '--strength <s>',
    'how much --from is changed, from 0 (not at all) to 1 (default: 0.6, or 1 with --mask)',
    parseNumber,
  )
  .option(
    '--mask <image>',
    'inpaint --from (RePaint): generate the white area of the mask, retain the black area',
  )
  .option('--jump <levels>', 'RePaint: jump length', parseWholeNumber, defaultJumps.jump)
  .option('--resample <n>', 'RePaint: number of resamplings', parseWholeNumber, defaultJumps.resample)
  .option('--invert', 'invert --from to noise and reconstruct it; prints the PSNR of the reconstruction')
  .option('--to-seed <n>', 'interpolate between --seed and this seed', parseWholeNumber)
  .addHelpText(
    'after',
    `
Examples:
  npm run sample -- runs/shapes
  npm run sample -- runs/mnist --class 7 --guidance 2 --count 16 --out sevens.png
  npm run sample -- runs/mnist --sampler unipc --order 3 --steps 10 --spacing karras
  npm run sample -- runs/shapes --out denoising.gif       animated denoising
  npm run sample -- runs/shapes --out images/             single PNGs
  npm run sample -- runs/shapes --out images/ --first 1000 --count 1000
  npm run sample -- runs/shapes --from sketch.png --strength 0.7 --count 16
  npm run sample -- runs/shapes --from photo.png --mask hole.png --count 8
  npm run sample -- runs/mnist --from data/mnist --invert --count 8
  npm run sample -- runs/shapes --seed 1 --to-seed 2 --count 10 --columns 10
Use npm run plan to print the steps of a sampler.`,
  )
  .action(main)

async function main(path: string, options: Options): Promise<void> {
  checkOptions(options)
  const output = openImageOutput(options.out)
  const model = await openModel(path, options.weights)
  try {
    checkGuidance(model.info, options)
    const sampling = samplerOptionsOf(options)
    const plan = planFor(model.info, sampling)
    const request: GenerateOptions = {
      ...sampling,
      seed: options.seed,
      count: options.count,
      first: options.first,
      className: options.class ?? null,
      ...(options.guidance !== undefined && { guidance: options.guidance }),
      ...(options.guidanceRescale !== undefined && { guidanceRescale: options.guidanceRescale }),
    }
    console.log(
      `${model.description}; ${plan.name}, ${countEvaluations(plan)} network evaluations, seed ${options.seed}`,
    )
    if (options.invert) await invertAndReconstruct(model, request, options, output)
    else await generateAndWrite(model, request, options, output)
  } finally {
    await model.dispose()
  }
}

/** @throws UserError for a number below 1, a missing --from, or options that exclude each other */
function checkOptions({ count, first, jump, resample, from, strength, mask, invert, toSeed }: Options): void {
  for (const [name, value] of Object.entries({ count, jump, resample })) {
    if (value < 1) throw new UserError(`Invalid --${name} ${value}: expected a positive integer.`)
  }
  for (const [name, value] of Object.entries({ strength, mask, invert })) {
    if (value !== undefined && from === undefined) {
      throw new UserError(`Missing --from: --${name} requires images to start from. Add --from <images>.`)
    }
  }
  if (toSeed !== undefined && from !== undefined) {
    throw new UserError(
      'Conflicting --to-seed and --from: --to-seed starts from noise, --from starts from images. Remove one of them.',
    )
  }
  for (const [name, value] of Object.entries({ 'to-seed': toSeed, from })) {
    if (first !== 0 && value !== undefined)
      throw new UserError(
        `Conflicting --first and --${name}: --first selects images of the seed's noise. Remove one of them.`,
      )
  }
  if (invert && (strength !== undefined || mask !== undefined)) {
    throw new UserError(
      'Conflicting --invert with --strength or --mask: inversion always continues to pure noise. ' +
        'Remove --strength and --mask.',
    )
  }
}

/** @throws UserError if guidance is requested from a model without classes */
function checkGuidance({ classes }: ModelInfo, { guidance, guidanceRescale }: Options): void {
  for (const [name, value] of Object.entries({ guidance, 'guidance-rescale': guidanceRescale })) {
    if (classes.length === 0 && value !== undefined) {
      throw new UserError(
        `Invalid --${name} ${value}: this model was trained without classes, and guidance amplifies the class. ` +
          'Remove the option.',
      )
    }
  }
}

async function generateAndWrite(
  { info, network }: OpenedModel,
  request: GenerateOptions,
  options: Options,
  output: ImageOutput,
): Promise<void> {
  const { count, class: className = null } = options
  const start = await startingPoint(info, { ...options, className })
  const recorder = output.kind === 'animation' ? createFrameRecorder(info, count) : null
  const bar = timedProgress('Generating')
  const images = await sample(info, network, { ...request, ...start }, bar.show, recorder?.record)
  bar.end()
  console.log(await writeImages(output, images, info, outputOptions(options), recorder?.frames))
}

/** Writes the images of --from, each followed by its reconstruction, and prints how much they differ. */
async function invertAndReconstruct(
  model: OpenedModel,
  request: GenerateOptions,
  options: Options,
  output: ImageOutput,
): Promise<void> {
  const images = await readStartingImages(options.from!, options.count, model.info.shape)
  const bar = timedProgress('Inverting')
  const { pairs, psnr, noise } = await reconstruct(model, images, request, bar.show)
  bar.end()
  console.log(await writeImages(output, pairs, model.info, outputOptions(options)))
  console.log(
    `PSNR of the reconstructions: ${psnr.overall.toFixed(1)} dB overall, ` +
      `${psnr.min.toFixed(1)} to ${psnr.max.toFixed(1)} dB per image. ` +
      `The latent noise has mean ${noise.mean.toFixed(3)} and standard deviation ${noise.deviation.toFixed(3)}.`,
  )
}

function outputOptions({ scale, columns, first }: Options) {
  return { first, ...(scale && { scale }), ...(columns && { columns }) }
}

await runCommand(command)
