import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { median, UserError } from '@ddpm/shared'
import { parseChoice, parseWholeNumber, runCommand } from '@ddpm/shared/cli'
import { Command, Option } from 'commander'
import { type Block, type Contender, killContenders, startContender } from './contender.ts'
import { type Task, tasks, writeTask } from './task.ts'
import { findTorch } from './torch.ts'

/** Number of steps before the measurement. They warm up both sides, and their losses are compared. */
const warmUpSteps = 10
/**
 * Returns the max relative difference of the losses of a step. A different order of float32 sums changes the first loss by
 * about 1e-6, and later losses by more. A wrong network exceeds the limit in the first step: with two heads instead of four,
 * the loss differs by 9e-5.
 */
const tolerance = (step: number) => 2e-5 * step
/** Number of steps that a contender runs before the next contender runs. */
const stepsPerBlock = 5

const names = Object.keys(tasks)
const list = (text: string) => text.split(',').map(parseWholeNumber)
const command = new Command('npm run bench:train --')
  .description(
    'Measures the compiled training step and compares it with PyTorch: same network, weights, batches and threads.',
  )
  .addOption(
    new Option('--network <list>', names.join(','))
      .argParser((text) => text.split(',').map(parseChoice(names)))
      .default(['small32'], 'small32'),
  )
  .option('--batch <list>', 'images per step (default: that of the network)', list)
  .option('--size <list>', 'image sizes in pixels (default: that of the network)', list)
  .option('--steps <n>', 'measured steps per side', parseWholeNumber, 30)
  .option('--python <program>', 'a Python with PyTorch (default: python3 or /usr/bin/python3)')
  .option('--compile', 'also measure torch.compile, which needs PyTorch 2 and a C++ compiler', false)
  .option('--alone', 'measure only this project, without PyTorch')
  .addHelpText(
    'after',
    `
Both sides alternate in blocks of ${stepsPerBlock} steps, each in its own process. Times are medians; memory is the peak of the
process.
PyTorch is measured with the BLAS library of the system, in the faster of two memory layouts (contiguous and channels
last). On Debian it is also measured with the reference BLAS that the package python3-torch installs.

Examples:
  npm run bench:train
  npm run bench:train -- --network ${names.join(',')} --steps 50
  npm run bench:train -- --batch 1,2,4,8,16,32,64`,
  )
  .action(main)

interface Options {
  network: string[]
  batch?: number[]
  size?: number[]
  steps: number
  python?: string
  compile: boolean
  alone?: true
}

async function main({ network, batch, size, steps, python, compile, alone }: Options): Promise<void> {
  if (steps < 1) throw new UserError(`Invalid --steps "${steps}": expected a positive integer.`)
  const torch = alone ? null : findTorch(python)
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-bench-'))
  const cleanUp = () => {
    killContenders()
    rmSync(folder, { recursive: true, force: true })
  }
  process.on('exit', cleanUp)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

  try {
    console.log(row('CPU', cpus()[0]?.model ?? 'unknown'))
    if (torch === null && !alone)
      console.log(
        row('PyTorch', 'not installed. On Debian: apt-get install python3-torch libopenblas0-pthread'),
      )
    for (const name of network) {
      const task = tasks[name]!
      for (const side of size ?? [task.height]) {
        for (const images of batch ?? [task.batch]) {
          const sized = { ...task, height: side, width: side, batch: images }
          await measure(name, sized, { folder, torch, compile, steps })
        }
      }
    }
  } finally {
    cleanUp()
  }
}

async function measure(
  name: string,
  task: Task,
  {
    folder,
    torch,
    compile,
    steps,
  }: { folder: string; torch: string | null; compile: boolean; steps: number },
): Promise<void> {
  const parameters = writeTask(folder, task)
  const { inputChannels } = task.unet
  console.log(
    `\n${name}: ${inputChannels}×${task.height}×${task.width} images, batch ${task.batch}, ` +
      `${parameters.toLocaleString('en')} parameters`,
  )
  const started = performance.now()
  const ours = await startContender('ours', [process.execPath, script('ours.ts'), folder])
  console.log(
    row('ours', `${ours.description}, ready in ${((performance.now() - started) / 1000).toFixed(1)} s`),
  )
  const peers = torch === null ? [] : await startPeers(folder, task, torch, compile)
  for (const { name, description } of peers) console.log(row(name, description))

  const first = await runBlocks([ours, ...peers], warmUpSteps)
  first.forEach((block, i) => console.log(row((peers[i - 1] ?? ours).name, losses(block))))
  assertAgreement(first)

  // Only the faster of PyTorch's two memory layouts is measured further.
  const [peer, other, ...further] = peers
  const faster = peer && other && medianOfBlocks(first[2]!) < medianOfBlocks(first[1]!) ? other : peer
  for (const contender of peers) {
    if (contender !== faster && !further.includes(contender)) await contender.end()
  }
  const contenders = [ours, ...(faster ? [faster] : []), ...further]

  const blocks: Block[][] = contenders.map(() => [])
  for (let left = steps; left > 0; left -= stepsPerBlock) {
    const blocksOfRound = await runBlocks(contenders, Math.min(stepsPerBlock, left))
    blocksOfRound.forEach((block, i) => blocks[i]!.push(block))
  }
  await Promise.all(contenders.map((contender) => contender.end()))
  report(contenders, blocks, task.batch)
}

function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}

/**
 * Starts PyTorch in both memory layouts and, if Debian's reference BLAS is installed, also with that BLAS.
 * @param compile whether to start a compiled network, too
 */
async function startPeers(
  folder: string,
  { threads }: Task,
  torch: string,
  compile: boolean,
): Promise<Contender[]> {
  // Each BLAS library reads its number of threads from its own variable when it is loaded.
  const count = Object.fromEntries(
    ['OMP', 'OPENBLAS', 'MKL', 'BLIS'].map((library) => [`${library}_NUM_THREADS`, String(threads)]),
  )
  const start = (
    name: string,
    layout: string,
    env: Readonly<Record<string, string>> = {},
    mode: 'eager' | 'compile' = 'eager',
  ) => startContender(name, [torch, script('peer.py'), folder, layout, mode], { ...count, ...env })
  const reference = ['x86_64', 'aarch64']
    .map((machine) => `/usr/lib/${machine}-linux-gnu`)
    .find((path) => existsSync(join(path, 'blas/libblas.so.3')))
  return [
    await start('PyTorch', 'contiguous_format'),
    await start('PyTorch', 'channels_last'),
    ...(compile ? [await start('compiled', 'contiguous_format', {}, 'compile')] : []),
    ...(reference
      ? [
          await start('reference', 'contiguous_format', {
            LD_LIBRARY_PATH: `${reference}/blas:${reference}/lapack`,
          }),
        ]
      : []),
  ]
}

/** Runs one block of each contender in sequence. */
async function runBlocks(contenders: readonly Contender[], steps: number): Promise<Block[]> {
  const blocks: Block[] = []
  for (const contender of contenders) {
    // The idle threads of the previous contender use the CPU for some more milliseconds.
    await setTimeout(100)
    blocks.push(await contender.run(steps))
  }
  return blocks
}

/** Throws a UserError if the losses differ, because the times could not be compared. */
function assertAgreement([ours, ...theirs]: readonly Block[]): void {
  for (const block of theirs) {
    block.losses.forEach((loss, i) => {
      const difference = Math.abs(loss - ours!.losses[i]!) / loss
      if (difference <= tolerance(i + 1)) return
      throw new UserError(
        `Cannot compare with PyTorch: both sides do not train the same network. The relative difference of the losses ` +
          `of step ${i + 1} is ${difference.toExponential(1)}, expected at most ${tolerance(i + 1)}. Run npm test to ` +
          'find the wrong part.',
      )
    })
  }
}

function medianOfBlocks(...blocks: readonly Block[]): number {
  return median(blocks.flatMap(({ milliseconds }) => milliseconds))
}

function report(contenders: readonly Contender[], blocks: readonly Block[][], batch: number): void {
  const results = blocks.map((contenderBlocks) => {
    const times = contenderBlocks.flatMap(({ milliseconds }) => milliseconds)
    return {
      median: medianOfBlocks(...contenderBlocks),
      fastest: Math.min(...times),
      slowest: Math.max(...times),
      peak: contenderBlocks.at(-1)!.peakBytes,
    }
  })
  console.log(row('', 'images/s   ms/step (fastest … slowest)    peak memory   ours, relative'))
  const ours = results[0]!
  results.forEach((result, i) => {
    const times = `${result.median.toFixed(0)} (${result.fastest.toFixed(0)} … ${result.slowest.toFixed(0)})`
    const speed = ((1000 * batch) / result.median).toFixed(1)
    const memory = `${(result.peak / 1e6).toFixed(0)} MB`
    const relative =
      i === 0
        ? ''
        : `${(result.median / ours.median).toFixed(2)}× the speed, ${(ours.peak / result.peak).toFixed(2)}× the memory`
    console.log(row(contenders[i]!.name, speed.padEnd(11) + times.padEnd(31) + memory.padEnd(14) + relative))
  })
}

function losses(block: Block): string {
  return `losses: ${block.losses.map((loss) => loss.toFixed(5)).join(' ')}`
}

function row(name: string, text: string): string {
  return name.padEnd(11) + text
}

await runCommand(command)
