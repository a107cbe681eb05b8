// Measures training and sampling on this machine's graphics card, next to PyTorch on the same card. Everything is measured
// within a time limit, the most important rows first, and each row is written as soon as it is measured.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { median } from '@ddpm/shared'
import { parseNumber, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import type { Candidate } from '../trainer/src/step/engine.ts'
import { type Contender, killContenders, startContender } from './contender.ts'
import { type Task, tasks, writeTask } from './task.ts'
import { findTorch } from './torch.ts'

const command = new Command('npm run bench:gpu --')
  .description(
    "Measures training and sampling on this machine's graphics card, next to PyTorch if it is installed. Without a card, " +
      'measures a tiny network on the CPU and in the software renderer, which tests the benchmark itself.',
  )
  .option('--out <folder>', 'folder for gpu.md and gpu.json', 'bench-gpu')
  .option('--minutes <n>', 'time limit; rows that have not been started by then are omitted', parseNumber, 8)
  .option('--python <program>', 'a Python with PyTorch (default: python3 or /usr/bin/python3)')
  .addHelpText('after', '\nExample:\n  npm run bench:gpu -- --python ~/torch/bin/python')
  .action(main)

/** One side of the comparison. */
interface Side {
  readonly name: string
  readonly start: (folder: string) => Promise<Contender>
}

/** A measured row of the table. */
interface Row {
  readonly network: string
  readonly batch: number
  readonly side: string
  /** Images per second in training; null if it failed. */
  readonly trained: number | null
  /** Milliseconds of an evaluation by its number of images. */
  readonly sampling: Readonly<Record<number, number>>
  /** Memory of the card in MB that the process used; null without a card. */
  readonly memory: number | null
  readonly error?: string
}

/** Numbers of images of the measured evaluations. */
const evaluated = [1, 16, 256]
const warmUpSteps = 5
/** Time limit of one row in seconds, on a card and without one. */
const rowSeconds = { card: 75, software: 30 }

async function main(options: { out: string; minutes: number; python?: string }): Promise<void> {
  const end = performance.now() + 60_000 * options.minutes
  const card = describeCard()
  const torch = findTorch(options.python)
  const sides = card === null ? softwareSides(torch) : cardSides(torch)
  const table = card === null ? [{ name: 'tiny', task: tiny }] : cardTasks
  const heading = card ?? `no NVIDIA card; ${cpus()[0]?.model ?? 'unknown CPU'}`
  const seconds = card === null ? rowSeconds.software : rowSeconds.card
  const rows: Row[] = []
  mkdirSync(options.out, { recursive: true })
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-bench-gpu-'))
  process.on('exit', () => {
    killContenders()
    rmSync(folder, { recursive: true, force: true })
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

  console.log(heading)
  const publish = (conformance: string | null) => {
    writeFileSync(
      join(options.out, 'gpu.json'),
      JSON.stringify({ card: heading, rows, conformance }, null, 2),
    )
    writeFileSync(join(options.out, 'gpu.md'), format(heading, rows, conformance))
  }
  for (const { name, task } of table) {
    writeTask(folder, task)
    for (const side of sides) {
      if (performance.now() > end - 1000 * seconds) break
      const row = await measure(name, task, side, { folder, seconds })
      rows.push(row)
      console.log(formatRow(row))
      publish(null)
    }
  }
  publish(performance.now() < end - 120_000 ? conformance() : 'not run: the time was over')
  console.log(`Written to ${join(options.out, 'gpu.md')}.`)
  process.exit()
}

const ours = (engine: Candidate['engine'], device: Candidate['device']): Side => ({
  name: `${engine}, ${device}`,
  start: (folder) =>
    startContender(`${engine} ${device}`, [process.execPath, script('ours.ts'), folder, engine, device]),
})

const pytorch = (torch: string, mode: string, device: string, precision: string): Side => ({
  name: `PyTorch, ${mode}, ${precision}`,
  start: (folder) =>
    startContender('PyTorch', [torch, script('peer.py'), folder, 'channels_last', mode, device, precision]),
})

function cardSides(torch: string | null): Side[] {
  const peers = (...modes: readonly (readonly [string, string])[]) =>
    torch === null ? [] : modes.map(([mode, precision]) => pytorch(torch, mode, 'cuda', precision))
  return [
    ours('onnxruntime', 'cuda'),
    ...peers(['eager', 'float32']),
    ours('onnxruntime', 'webgpu'),
    ...peers(['eager', 'tf32'], ['eager', 'bfloat16'], ['compile', 'float32'], ['compile', 'bfloat16']),
    ours('tfjs', 'cuda'),
  ]
}

function softwareSides(torch: string | null): Side[] {
  return [
    ours('onnxruntime', 'cpu'),
    ...(torch === null ? [] : [pytorch(torch, 'eager', 'cpu', 'float32')]),
    ours('onnxruntime', 'cuda'),
    ours('tfjs', 'cpu'),
    ours('onnxruntime', 'webgpu'),
  ]
}

/** A network that a software renderer trains in a few seconds. */
const tiny: Task = {
  ...tasks['small32']!,
  unet: { ...tasks['small32']!.unet, baseChannels: 8, channelMultiples: [1, 2], attention: [false, true] },
  height: 8,
  width: 8,
  batch: 2,
}

const cardTasks = [
  ['cifar10', 128],
  ['small32', 128],
  ['seed64', 32],
  ['small32', 32],
  ['cifar10', 32],
  ['seed64', 128],
].map(([name, batch]) => ({ name: String(name), task: { ...tasks[name as string]!, batch: Number(batch) } }))

/** Measures one side. An error becomes part of the row. */
async function measure(
  network: string,
  task: Task,
  side: Side,
  { folder, seconds }: { folder: string; seconds: number },
): Promise<Row> {
  const idle = usedMemory()
  const sampling: Record<number, number> = {}
  let trained: number | null = null
  let memory: number | null = null
  const run = async () => {
    const contender = await side.start(folder)
    await contender.run(warmUpSteps)
    const [first] = (await contender.run(1)).milliseconds
    // About three seconds.
    const steps = Math.min(50, Math.max(3, Math.round(3000 / first!)))
    trained = (1000 * task.batch) / median((await contender.run(steps)).milliseconds)
    const used = usedMemory()
    memory = used === null || idle === null ? null : used - idle
    for (const images of evaluated) {
      await contender.predict(images, 2)
      sampling[images] = median(await contender.predict(images, 5))
    }
    await contender.end()
  }
  const timeout = setTimeout(1000 * seconds).then(() => {
    throw new Error(`not finished after ${seconds} s`)
  })
  try {
    await Promise.race([run(), timeout])
    return { network, batch: task.batch, side: side.name, trained, sampling, memory }
  } catch (error) {
    const { message } = error as Error
    // The reason that a process has printed, or that it has ended.
    const [reason] = /Cannot use .*/.exec(message) ?? /\w+Error: .*/.exec(message) ?? message.split('\n')
    return { network, batch: task.batch, side: side.name, trained, sampling, memory, error: reason! }
  } finally {
    killContenders()
  }
}

/** Returns the name, driver and memory of the NVIDIA card, or null. */
function describeCard(): string | null {
  return query('name,driver_version,memory.total')
}

/** Returns the used memory of the card in MB, or null without a card. */
function usedMemory(): number | null {
  const text = query('memory.used')
  return text === null ? null : Number.parseInt(text, 10)
}

function query(fields: string): string | null {
  const { status, stdout } = spawnSync('nvidia-smi', [`--query-gpu=${fields}`, '--format=csv,noheader'], {
    encoding: 'utf8',
  })
  return status === 0 ? stdout.trim().split('\n')[0]! : null
}

/** Runs the conformance tests. Returns one line per engine and device. */
function conformance(): string {
  const test = fileURLToPath(new URL('../test/conformance.test.ts', import.meta.url))
  if (!existsSync(test)) return 'not run: this copy has no tests'
  const { stdout } = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=spec', test],
    { encoding: 'utf8', timeout: 240_000 },
  )
  const lines = stdout.split('\n').filter((line) => /^[✔✖﹣] \w+ on \w+/.test(line))
  return lines.length > 0 ? lines.join('\n') : 'no result'
}

function formatRow({ network, batch, side, trained, sampling, memory, error }: Row): string {
  const number = (value: number | null | undefined) => (value == null ? '' : value.toPrecision(3))
  const cells = [
    network,
    batch,
    side,
    number(trained),
    ...evaluated.map((n) => number(sampling[n])),
    memory ?? '',
  ]
  return `| ${cells.join(' | ')} | ${error ?? ''} |`
}

function format(heading: string, rows: readonly Row[], conformance: string | null): string {
  const columns = [
    ...['network', 'batch', 'engine', 'training, images/s'],
    ...evaluated.map((n) => `evaluation of ${n}, ms`),
    ...['card memory, MB', 'error'],
  ]
  return `${heading}, ${new Date().toISOString().slice(0, 10)}

| ${columns.join(' | ')} |
| ${columns.map(() => '---').join(' | ')} |
${rows.map(formatRow).join('\n')}

Conformance:

${conformance ?? 'not run yet'}
`
}

function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}

await runCommand(command)
