import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { UserError } from '@ddpm/shared'
import { choice, runCommand, wholeNumber } from '@ddpm/shared/command'
import { Command, Option } from 'commander'
import { type Block, type Contender, killContenders, startContender } from './contender.ts'
import { type Task, tasks, writeTask } from './task.ts'

/** Steps before the clock counts; their losses are compared. */
const compared = 3
/** float32 sums in another order move these losses by about 1e-6 of themselves; two heads for four, by 9e-5 and more. */
const tolerance = 2e-5
/** Steps that one side takes before it is the other's turn. */
const turn = 5

const names = Object.keys(tasks)
const command = new Command('npm run bench:train --')
  .description(
    'Measures the compiled training step beside PyTorch: same network, weights, batches and threads.',
  )
  .addOption(
    new Option('--network <list>', names.join(','))
      .argParser((text) => text.split(',').map(choice(names)))
      .default(['small32'], 'small32'),
  )
  .option('--steps <n>', 'measured steps of each side', wholeNumber, 30)
  .option('--python <program>', 'a Python that has PyTorch (default: python3 or /usr/bin/python3)')
  .addHelpText(
    'after',
    `
Both sides take turns of ${turn} steps, each in a process of its own; times are medians, memory is the process's peak.

Examples:
  npm run bench:train
  npm run bench:train -- --network ${names.join(',')} --steps 50`,
  )
  .action(main)

interface Options {
  network: string[]
  steps: number
  python?: string
}

async function main({ network, steps, python }: Options): Promise<void> {
  if (steps < 1) throw new UserError(`Found --steps ${steps}; expected at least 1.`)
  const torch = findTorch(python)
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-bench-'))
  const cleanUp = () => {
    killContenders()
    rmSync(folder, { recursive: true, force: true })
  }
  process.on('exit', cleanUp)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

  try {
    console.log(row('CPU', cpus()[0]?.model ?? 'unknown'))
    for (const name of network) await measure(name, tasks[name]!, { folder, torch, steps })
  } finally {
    cleanUp()
  }
}

/** The first Python with PyTorch, or null. @throws UserError where the one asked for has none */
function findTorch(asked?: string): string | null {
  const candidates = asked === undefined ? ['python3', '/usr/bin/python3'] : [asked]
  const found = candidates.find((python) => spawnSync(python, ['-c', 'from torch import nn']).status === 0)
  if (found === undefined && asked !== undefined) {
    throw new UserError(
      `Found no PyTorch in --python ${asked}; expected a Python that can "import torch". ` +
        'Name another one, or leave the option out.',
    )
  }
  return found ?? null
}

async function measure(
  name: string,
  task: Task,
  { folder, torch, steps }: { folder: string; torch: string | null; steps: number },
): Promise<void> {
  const parameters = writeTask(folder, task)
  const { inputChannels } = task.unet
  console.log(
    `\n${name}: ${inputChannels}×${task.height}×${task.width} pictures, batch ${task.batch}, ` +
      `${parameters.toLocaleString('en')} parameters`,
  )
  const contenders = await startBoth(folder, task, torch)
  for (const { name, description } of contenders) console.log(row(name, description))
  if (torch === null) {
    console.log(row('PyTorch', 'not found. On Debian: apt-get install python3-torch libopenblas0-pthread'))
  }

  const first = await inTurn(contenders, compared)
  contenders.forEach((contender, i) => console.log(row(contender.name, losses(first[i]!))))
  assertAgreement(first)

  const blocks: Block[][] = contenders.map(() => [])
  for (let left = steps; left > 0; left -= turn) {
    const round = await inTurn(contenders, Math.min(turn, left))
    round.forEach((block, i) => blocks[i]!.push(block))
  }
  await Promise.all(contenders.map((contender) => contender.end()))
  report(contenders, blocks, task.batch)
}

async function startBoth(folder: string, { threads }: Task, torch: string | null): Promise<Contender[]> {
  const script = (name: string) => fileURLToPath(new URL(name, import.meta.url))
  const ours = await startContender('ours', [process.execPath, script('ours.ts'), folder])
  if (torch === null) return [ours]
  // The BLAS libraries read their number of threads when they are loaded, each from its own variable.
  const count = Object.fromEntries(
    ['OMP', 'OPENBLAS', 'MKL', 'BLIS'].map((library) => [`${library}_NUM_THREADS`, String(threads)]),
  )
  return [ours, await startContender('PyTorch', [torch, script('peer.py'), folder], count)]
}

/** One block of each, one after the other. */
async function inTurn(contenders: readonly Contender[], steps: number): Promise<Block[]> {
  const blocks: Block[] = []
  for (const contender of contenders) {
    // Idle threads of the one before go on spinning for some milliseconds.
    await setTimeout(100)
    blocks.push(await contender.run(steps))
  }
  return blocks
}

/** @throws UserError where the sides do not compute the same losses: their times would say nothing */
function assertAgreement([ours, theirs]: readonly Block[]): void {
  theirs?.losses.forEach((loss, i) => {
    const difference = Math.abs(loss - ours!.losses[i]!) / loss
    if (difference <= tolerance) return
    throw new UserError(
      `The losses of step ${i + 1} differ by ${difference.toExponential(1)} of themselves; expected at most ` +
        `${tolerance}. The two do not train the same network: npm test tells which part of ours is wrong.`,
    )
  })
}

function report(contenders: readonly Contender[], blocks: readonly Block[][], batch: number): void {
  const results = blocks.map((own) => {
    const times = own.flatMap(({ milliseconds }) => milliseconds).sort((a, b) => a - b)
    const median = (times[(times.length - 1) >> 1]! + times[times.length >> 1]!) / 2
    return { median, fastest: times[0]!, slowest: times.at(-1)!, peak: own.at(-1)!.peakBytes }
  })
  console.log(row('', 'images/s   ms/step (fastest … slowest)    peak memory'))
  results.forEach(({ median, fastest, slowest, peak }, i) => {
    const times = `${median.toFixed(0)} (${fastest.toFixed(0)} … ${slowest.toFixed(0)})`
    const speed = ((1000 * batch) / median).toFixed(1)
    const memory = `${(peak / 1e6).toFixed(0)} MB`
    console.log(row(contenders[i]!.name, speed.padEnd(11) + times.padEnd(31) + memory))
  })
  const [ours, theirs] = results
  if (!ours || !theirs) return
  const speed = (theirs.median / ours.median).toFixed(2)
  const memory = (ours.peak / theirs.peak).toFixed(2)
  console.log(`ours is ${speed} times as fast and takes ${memory} times the memory`)
}

function losses(block: Block): string {
  return `losses of the first steps: ${block.losses.map((loss) => loss.toFixed(6)).join('  ')}`
}

function row(name: string, text: string): string {
  return name.padEnd(9) + text
}

await runCommand(command)
