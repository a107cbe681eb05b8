import {
  classOf,
  defaultJumps,
  evaluationsOf,
  type GenerateOptions,
  type ModelInfo,
  noiseBetween,
  planFor,
  UserError,
} from '@ddpm/shared'
import { choice, realNumber, runCommand, wholeNumber } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { readMask, startingImages } from '../data/starting-images.ts'
import { invertAll, type OpenedModel, openModel, sample, type WeightsKind } from '../export/inference.ts'
import { frameRecorder } from '../image/frames.ts'
import type { GridOptions } from '../image/grid.ts'
import { isMoving, writeImages } from '../image/image-files.ts'
import { psnr } from '../image/psnr.ts'
import { formatDuration } from '../support/duration.ts'
import { type ProgressBar, progressBar } from './terminal/progress.ts'
import { addSamplerOptions, type SamplerFlags, samplerOptionsOf } from './terminal/sampler-options.ts'

interface Options extends SamplerFlags {
  out: string
  count: number
  seed: number
  class?: string
  guidance?: number
  guidanceRescale?: number
  weights: WeightsKind
  columns?: number
  scale: number
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
    .description('Draws pictures from a trained run, one of its checkpoints, or an exported model.')
    .argument('<model>', 'a folder made by train, import or export, or a checkpoint file')
    .option(
      '--out <path>',
      'a grid (.png), the denoising as a moving grid (.gif), or a folder (ends in /) of single PNGs',
      'samples.png',
    )
    .option('--count <n>', 'number of pictures', wholeNumber, 64)
    .option('--seed <n>', 'picture i of a seed is the same on every machine', wholeNumber, 0),
)
  .option('--class <name>', 'draw only this class')
  .option('--guidance <scale>', 'classifier-free guidance, 1 for none', realNumber)
  .option('--guidance-rescale <part>', 'how far guided pictures keep their spread, 0 … 1', realNumber)
  .option(
    '--weights <kind>',
    'ema (averaged) or raw; exported models have one kind',
    choice(['ema', 'raw']),
    'ema',
  )
  .option('--columns <n>', 'pictures per row', wholeNumber)
  .option('--scale <n>', 'pixels per pixel', wholeNumber, 2)
  .option('--from <pictures>', 'start from a picture (taken --count times), or from what training takes')
  .option(
    '--strength <part>',
    'how much of --from is drawn anew, 0 … 1 (default: 0.6, with --mask 1)',
    realNumber,
  )
  .option('--mask <picture>', 'draw --from anew where this is white, keep it where it is black (RePaint)')
  .option('--jump <levels>', 'RePaint: how far it jumps back', wholeNumber, defaultJumps.jump)
  .option('--resample <n>', 'RePaint: how often it draws each stretch', wholeNumber, defaultJumps.resample)
  .option('--invert', 'find the noise behind --from and draw from it again; prints how near that comes')
  .option('--to-seed <n>', 'pictures on the way from --seed to this seed', wholeNumber)
  .addHelpText(
    'after',
    `
Examples:
  npm run sample -- runs/shapes
  npm run sample -- runs/mnist --class 7 --guidance 2 --count 16 --out sevens.png
  npm run sample -- runs/mnist --sampler unipc --order 3 --steps 10 --spacing karras
  npm run sample -- runs/shapes --out denoising.gif         the pictures as they appear
  npm run sample -- runs/shapes --out pictures/ --scale 1   single PNGs
  npm run sample -- runs/shapes --from sketch.png --strength 0.7 --count 16
  npm run sample -- runs/shapes --from photo.png --mask hole.png --count 8
  npm run sample -- runs/mnist --from data/mnist --invert --count 8
  npm run sample -- runs/shapes --seed 1 --to-seed 2 --count 10 --columns 10
npm run plan shows what a sampler does, step by step.`,
  )
  .action(main)

async function main(path: string, options: Options): Promise<void> {
  if (options.count < 1) throw new UserError(`Found --count ${options.count}; expected at least 1.`)
  if (options.jump < 1 || options.resample < 1) {
    throw new UserError('Found 0 for --jump or --resample; expected at least 1.')
  }
  requireFrom(options)
  const model = await openModel(path, options.weights)
  try {
    const sampling = samplerOptionsOf(options)
    const plan = planFor(model.facts, sampling)
    const asked: GenerateOptions = {
      ...sampling,
      seed: options.seed,
      count: options.count,
      className: options.class ?? null,
      ...(options.guidance !== undefined && { guidance: options.guidance }),
      ...(options.guidanceRescale !== undefined && { guidanceRescale: options.guidanceRescale }),
    }
    console.log(`${model.description}; ${plan.name}, ${evaluationsOf(plan)} steps, seed ${options.seed}`)
    const began = performance.now()
    const bar = progressBar(options.invert ? 'Inverting' : 'Drawing')
    const show = progressWithTime(bar, began)
    if (options.invert) await invertAndBack(model, asked, options, bar, show)
    else await drawOnce(model, asked, options, bar, show)
  } finally {
    await model.dispose()
  }
}

/** @throws UserError where an option needs --from, or two of them ask for different things */
function requireFrom({ from, strength, mask, invert, toSeed }: Options): void {
  const needing = { '--strength': strength, '--mask': mask, '--invert': invert }
  for (const [name, value] of Object.entries(needing)) {
    if (value !== undefined && from === undefined) {
      throw new UserError(`${name} goes with --from, which says what picture to start from.`)
    }
  }
  if (toSeed !== undefined && from !== undefined) {
    throw new UserError('--to-seed goes from noise to noise and --from starts from a picture: leave one out.')
  }
  if (invert && (strength !== undefined || mask !== undefined)) {
    throw new UserError('--invert goes all the way to noise and back: leave out --strength and --mask.')
  }
}

function progressWithTime(bar: ProgressBar, began: number): (done: number, total: number) => void {
  return (done, total) => {
    const left = ((performance.now() - began) / 1000 / done) * (total - done)
    bar.show(done, total, done < total ? `${formatDuration(left)} left` : '')
  }
}

/** Draws, and writes what --out asks for. */
async function drawOnce(
  { facts, network }: OpenedModel,
  asked: GenerateOptions,
  options: Options,
  bar: ProgressBar,
  show: (done: number, total: number) => void,
): Promise<void> {
  const start = await startOf(facts, options)
  const moving = isMoving(options.out) ? frameRecorder(facts, asked.count) : null
  const images = await sample(facts, network, { ...asked, ...start }, show, moving?.record)
  bar.end()
  console.log(await writeImages(options.out, images, facts, gridOf(options), moving?.frames))
}

/** What --from, --mask and --to-seed say of where to start. */
async function startOf(facts: ModelInfo, options: Options): Promise<Partial<GenerateOptions>> {
  const { from, mask, count, seed, toSeed } = options
  if (toSeed !== undefined) {
    const className = classOf(facts, { seed, image: 0, name: options.class ?? null })
    const { channels, height, width } = facts.shape
    return { noise: noiseBetween(channels * height * width, [seed, toSeed], count), className }
  }
  if (from === undefined) return {}
  const image = await startingImages(from, count, facts.shape)
  const { jump, resample, strength = mask ? 1 : 0.6 } = options
  return {
    init: image,
    strength,
    ...(mask && { mask: await readMask(mask, count, facts.shape), jumps: { jump, resample } }),
  }
}

/** Inverts --from, draws it again, writes both side by side and prints how near they are. */
async function invertAndBack(
  { facts, network }: OpenedModel,
  asked: GenerateOptions,
  options: Options,
  bar: ProgressBar,
  show: (done: number, total: number) => void,
): Promise<void> {
  const { count } = asked
  const images = await startingImages(options.from!, count, facts.shape)
  // There and back is the same path only where nothing is clamped or noisy; what class they have is not known.
  const guidance = asked.guidance ?? (asked.className === null ? 0 : 1)
  const straight = { ...asked, sampler: 'ddim', eta: 0, clamp: null, guidance, guidanceRescale: 0 } as const
  const noise = await invertAll(facts, network, images, straight, (done, total) => show(done, 2 * total))
  const back = await sample(facts, network, { ...straight, noise }, (done, total) =>
    show(total + done, 2 * total),
  )
  bar.end()
  const size = images.length / count
  const both = new Float32Array(2 * images.length)
  for (let i = 0; i < count; i++) {
    both.set(images.subarray(i * size, (i + 1) * size), 2 * i * size)
    both.set(back.subarray(i * size, (i + 1) * size), (2 * i + 1) * size)
  }
  console.log(await writeImages(options.out, both, facts, gridOf(options)))
  const each = Array.from({ length: count }, (_, i) =>
    psnr(images.subarray(i * size, (i + 1) * size), back.subarray(i * size, (i + 1) * size)),
  )
  const mean = noise.reduce((sum, value) => sum + value, 0) / noise.length
  const deviation = Math.sqrt(noise.reduce((sum, value) => sum + (value - mean) ** 2, 0) / noise.length)
  console.log(
    `PSNR of what came back: ${psnr(images, back).toFixed(1)} dB over all, ` +
      `from ${Math.min(...each).toFixed(1)} to ${Math.max(...each).toFixed(1)} dB a picture. ` +
      `The noise found has mean ${mean.toFixed(3)} and deviation ${deviation.toFixed(3)}.`,
  )
}

function gridOf({ scale, columns }: Options): GridOptions {
  return { scale, ...(columns && { columns }) }
}

await runCommand(command)
