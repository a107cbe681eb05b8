// Measures the server and nginx with the same files. Both run on this machine and are measured by wrk in turns.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { UserError } from '@ddpm/shared'
import { parseNumber, parseWholeNumber, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { serveOnWorkerd } from '../edge/commands/hosting/workerd.ts'
import { wranglerOrFail } from '../edge/commands/hosting/wrangler.ts'
import { startBareWorkerd } from './edge/bare-workerd.ts'
import { manyModels } from './edge/many-models.ts'
import { processorTime } from './edge/processor-time.ts'
import { type Contender, type Published, startContenders } from './edge/servers.ts'

const connections = [1, 10, 100]

interface Rate {
  readonly perSecond: number
  /** Milliseconds. */
  readonly p99: number
  /** Processor time per request in microseconds. */
  readonly processor: number
  readonly errors: number
}

/** Requests one URL repeatedly with wrk, over `count` connections. */
function measure(
  url: string,
  headers: Record<string, string>,
  count: number,
  seconds: number,
  pid: number | null,
): Promise<Rate> {
  const usedBefore = pid === null ? 0 : processorTime(pid)
  const headerArgs = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const args = ['-t1', `-c${count}`, `-d${seconds}s`, '--timeout', '20s', '--latency', ...headerArgs, url]
  return new Promise((resolve, reject) => {
    const child = spawn('wrk', args)
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('error', reject)
    child.on('close', () => {
      const used = pid === null ? Number.NaN : processorTime(pid) - usedBefore
      const requests = Number(/(\d+) requests in/.exec(output)?.[1])
      const [, amount, unit] = /99%\s+([\d.]+)(us|ms|s|m)/.exec(output) ?? []
      const scale = { us: 1e-3, ms: 1, s: 1e3, m: 6e4 }[unit as 'us' | 'ms' | 's' | 'm']
      const [, socket = ''] = /Socket errors: (.*)/.exec(output) ?? []
      const failed = (socket.match(/\d+/g) ?? []).reduce((sum, digits) => sum + Number(digits), 0)
      const rejected = Number(/Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? 0)
      resolve({
        perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1]),
        p99: Number(amount) * scale,
        processor: (1000 * used) / requests,
        errors: failed + rejected,
      })
    })
  })
}

const residentMegabytes = async (pid: number) => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1000
}

async function rates(all: readonly Contender[], file: Published, { seconds, bytes }: Options): Promise<void> {
  console.log(
    `| request | connections | ${all.map(({ name }) => `${name}: requests/s, p99, processor time`).join(' | ')} |`,
  )
  console.log(`| --- | --- | ${all.map(() => '---').join(' | ')} |`)
  for (const [what, headers] of [
    ['manifest', null],
    ['304', {}],
    ['range of 64 KiB', { Range: 'bytes=0-65535' }],
    [`model, ${bytes / 1e6} MB`, {}],
  ] as const) {
    for (const count of connections) {
      const cells: string[] = []
      for (const { url, manifestPath, pid } of all) {
        const path = headers === null ? manifestPath : file.path
        const conditions: Record<string, string> = { ...headers }
        if (what === '304') conditions['If-None-Match'] = await etagOf(`${url}${path}`)
        const { perSecond, p99, processor, errors } = await measure(
          `${url}${path}`,
          conditions,
          count,
          seconds,
          pid,
        )
        const failures = errors > 0 ? `, ${errors} errors` : ''
        cells.push(
          `${perSecond.toFixed(perSecond < 100 ? 1 : 0)}, ${p99.toFixed(1)} ms, ${processor.toFixed(0)} µs${failures}`,
        )
      }
      console.log(`| ${what} | ${count} | ${cells.join(' | ')} |`)
    }
  }
}

/** Returns the ETag of a URL. nginx generates its own. */
async function etagOf(url: string): Promise<string> {
  const { headers } = await fetch(url, { method: 'HEAD', headers: { 'Accept-Encoding': 'identity' } })
  return headers.get('ETag')!
}

/** Measures the memory of each server, in MB, before the downloads of a model and after each quarter of them. */
async function memory(
  all: readonly Contender[],
  file: Published,
  { downloads, minutes }: Options,
): Promise<void> {
  const quarter = Math.ceil(downloads / 4)
  console.log(
    `\n| server | MB before | ${[1, 2, 3, 4].map((part) => `after ${part * quarter}`).join(' | ')} downloads |`,
  )
  console.log('| --- | --- | --- | --- | --- | --- |')
  for (const { name, url, pid } of all) {
    if (pid === null) continue
    const until = Date.now() + minutes * 60_000
    const cells = [await residentMegabytes(pid)]
    let done = 0
    for (let part = 0; part < 4; part++) {
      done += await download(`${url}${file.path}`, quarter, until)
      cells.push(await residentMegabytes(pid))
    }
    const cutOff = done < 4 * quarter ? ` (${done} in ${minutes} minutes)` : ''
    console.log(`| ${name} | ${cells.map((megabytes) => megabytes.toFixed(0)).join(' | ')}${cutOff} |`)
  }
}

/** Script that downloads a URL repeatedly, four times in parallel, and prints a dot for each complete download. */
const downloader = `
  const [url, count] = process.argv.slice(1)
  let left = Number(count)
  const one = async () => {
    while (left-- > 0) {
      const response = await fetch(url)
      await response.body.pipeTo(new WritableStream())
      process.stdout.write('.')
    }
  }
  await Promise.all([one(), one(), one(), one()])`

/**
 * Downloads in another process, so that the client's memory is not counted.
 * @param until time at which the downloads are stopped, as returned by `Date.now()`
 * @returns number of complete downloads
 */
async function download(url: string, count: number, until: number): Promise<number> {
  const args = ['--input-type=module', '--eval', downloader, url, String(count)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let done = 0
  child.stdout.on('data', (dots: Buffer) => (done += dots.length))
  const timer = globalThis.setTimeout(() => child.kill(), Math.max(0, until - Date.now()))
  await once(child, 'close')
  clearTimeout(timer)
  return done
}

/** Measures the size of the deployed Worker, and the time from workerd's start to the first response. */
async function bundle(folder: string): Promise<void> {
  const out = join(folder, 'bundle')
  await wranglerOrFail(['deploy', '--dry-run', '--env=', '--outdir', out])
  const code = await readFile(join(out, 'worker.js'))
  console.log(
    `\nWorker: ${(code.length / 1e3).toFixed(0)} kB, ${(gzipSync(code).length / 1e3).toFixed(0)} kB gzipped`,
  )
  const began = performance.now()
  const { url, stop } = await serveOnWorkerd({ port: 0, persistTo: join(folder, 'cold'), quiet: true })
  const started = performance.now()
  await fetch(`${url}/api/models`)
  const first = performance.now() - started
  const second = performance.now()
  await fetch(`${url}/api/models`)
  console.log(
    `Cold start on this machine: wrangler with its build ${((started - began) / 1e3).toFixed(1)} s, first response ` +
      `${first.toFixed(0)} ms, next response ${(performance.now() - second).toFixed(0)} ms`,
  )
  await stop()
}

interface Options {
  readonly bytes: number
  readonly seconds: number
  readonly downloads: number
  readonly minutes: number
  readonly models: number
}

async function main(options: Options): Promise<void> {
  const { bytes, seconds, downloads, minutes, models } = options
  for (const tool of ['nginx', 'wrk']) {
    if (spawnSync(tool, ['-v']).error)
      throw new UserError(
        `Cannot run the benchmark: ${tool} is not installed. Install it with: sudo apt install ${tool}`,
      )
  }
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-bench-'))
  await chmod(folder, 0o755)
  const { all, file } = await startContenders(folder, bytes, models)
  try {
    const maxMinutes =
      (4 * connections.length * all.length * seconds) / 60 + (downloads > 0 ? all.length * minutes : 0)
    console.log(
      `This takes at most ${Math.ceil(maxMinutes + 1)} minutes on ${availableParallelism()} cores (${cpus()[0]!.model}).\n`,
    )
    if (seconds > 0) await rates(all, file, options)
    if (models > 0) {
      const bare = await startBareWorkerd(folder, models)
      await manyModels([...all, bare], models).finally(bare.stop)
    }
    if (downloads > 0) await memory(all, file, options)
    await bundle(folder)
  } finally {
    for (const { stop } of all) await stop()
    await rm(folder, { recursive: true, force: true })
  }
  process.exit()
}

const command = new Command('npm run bench:edge --')
  .description(
    'Measures requests per second, latency and memory of the server, compared with nginx for the same files.',
  )
  .option(
    '--bytes <n>',
    'size of the model in bytes, by default about the size of a model of the recipe shapes',
    parseWholeNumber,
    5_000_000,
  )
  .option('--seconds <n>', 'duration of each measurement of the speed', parseWholeNumber, 3)
  .option('--downloads <n>', 'downloads of the model for the memory measurement', parseWholeNumber, 10_000)
  .option('--minutes <n>', 'time limit in minutes for the downloads from each server', parseNumber, 10)
  .option('--models <n>', 'number of models in the list', parseWholeNumber, 10_000)
  .addHelpText(
    'after',
    '\nExamples:\n  npm run bench:edge\n  npm run bench:edge -- --seconds 1 --downloads 1000 --minutes 1' +
      '\n  npm run bench:edge -- --seconds 0 --bytes 60000 --downloads 40000',
  )
  .action(main)

await runCommand(command)
