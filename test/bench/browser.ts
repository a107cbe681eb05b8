// How fast the sampler module draws in a real Chromium, beside the loop, the export and the library that others would use.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { UserError } from '@ddpm/shared'
import { choice, runCommand, wholeBetween } from '@ddpm/shared/command'
import { Command, Option } from 'commander'
import type { Browser, Page } from 'playwright-core'
import { launch } from '../support/browser.ts'
import type { Task } from './browser/contender.ts'
import { measured, type WrittenNetwork, writeNetwork } from './browser/networks.ts'
import type { Bench } from './browser/page.ts'
import { type Round, report } from './browser/report.ts'
import { openSite } from './browser/site.ts'
import type { Times } from './browser/stopwatch.ts'
import { findTorch } from './torch.ts'

/** Of the picture that a visit waits for. */
const visitSteps = 15
const names = Object.keys(measured)
const devices = ['wasm', 'webgpu'] as const
const words = (allowed: readonly string[]) => (text: string) => text.split(',').map(choice(allowed))
const command = new Command('npm run bench:browser --')
  .description('Measures the sampler module in a real Chromium, beside what else could draw there.')
  .addOption(
    new Option('--network <list>', names.join(',')).argParser(words(names)).default(names, names.join(',')),
  )
  .addOption(
    new Option('--device <list>', devices.join(','))
      .argParser(words(devices))
      .default(devices, devices.join(',')),
  )
  .addOption(
    new Option('--threads <list>', 'of WebAssembly')
      .argParser((text) => text.split(',').map(wholeBetween(1, 64)))
      .default([1, 2], '1,2'),
  )
  .option('--count <n>', 'pictures at once (default: 4, of cifar10 and on WebGPU 1)', wholeBetween(1, 256))
  .option('--steps <n>', 'steps of a turn (default: 15, of cifar10 and on WebGPU 3)', wholeBetween(1, 1000))
  .option('--sampler <name>', 'as npm run sample has them', 'ddpm')
  .option('--seconds <n>', 'how long each table may take, beyond its first rounds', wholeBetween(0, 3600), 30)
  .option('--python <program>', 'a Python that has PyTorch (default: python3 or /usr/bin/python3)')
  .addHelpText(
    'after',
    `
Networks have the sizes of the recipes and fresh weights. The contenders take turns, each in a worker of its own, with
the same pictures at once and the same threads:
  module    model.sample of the sampler module: noise, sampler, previews, messages and all
  network   the same graph in the same onnxruntime-web and nothing else
  loop      the same graph in the usual loop, which reads everything back in every step
  torch     the graph as PyTorch's own exporter writes it, in the same onnxruntime-web, and nothing else
  tfjs      the graph model of npm run export -- --format tfjs in TensorFlow.js, and nothing else
WebGPU is SwiftShader's unless CHROME_PATH names a browser with a card: software, so that its times say nothing of cards.

Examples:
  npm run bench:browser
  npm run bench:browser -- --network mnist --device wasm --threads 2 --count 16`,
  )
  .action(main)

interface Options {
  network: string[]
  device: ('wasm' | 'webgpu')[]
  threads: number[]
  count?: number
  steps?: number
  sampler: string
  seconds: number
  python?: string
}

/** A network, where and how it is measured. */
interface Setting {
  readonly network: string
  readonly task: Omit<Task, 'graph'>
  readonly steps: number
  readonly torch: boolean
}

async function main(options: Options): Promise<void> {
  const torch = findTorch(options.python)
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-bench-'))
  const cleanUp = () => rmSync(folder, { recursive: true, force: true })
  process.on('exit', cleanUp)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

  const written = new Map<string, WrittenNetwork>()
  for (const name of options.network) {
    mkdirSync(join(folder, name))
    written.set(name, await writeNetwork(join(folder, name), name, torch))
  }
  const [{ torch: exporter } = { torch: null }] = written.values()
  const site = await openSite(
    folder,
    options.network.map((name) => join(folder, name)),
  )
  const browser = await launch()
  try {
    console.log(`CPU: ${cpus()[0]?.model ?? 'unknown'}; Chromium ${browser.version()}`)
    console.log(
      `torch: ${exporter ?? 'not measured, for there is no PyTorch. On Debian: apt-get install python3-torch'}`,
    )
    for (const [network, { manifest, parameters }] of written) {
      for (const device of options.device) {
        for (const threads of device === 'wasm' ? options.threads : [1]) {
          const few = network === 'cifar10' || device === 'webgpu'
          const { count = few ? 1 : 4, steps = few ? 3 : 15 } = options
          if (device === 'webgpu' && network === 'cifar10' && options.count === undefined) {
            console.log(
              '\ncifar10 on WebGPU: not measured unless --count is given, for a software adapter takes minutes.',
            )
            continue
          }
          const task = {
            shape: manifest.shape,
            labelled: manifest.classes.length > 0,
            count,
            device,
            threads,
          }
          const place =
            device === 'wasm' ? `WebAssembly, ${threads} thread${threads === 1 ? '' : 's'}` : 'WebGPU'
          const { channels, height, width } = manifest.shape
          console.log(
            `\n${network}: ${channels}×${height}×${width}, ${parameters.toLocaleString('en')} parameters; ${place}; ` +
              `${count} at once, ${options.sampler}, ${steps} steps`,
          )
          const setting = { network, task, steps, torch: exporter !== null }
          await measureVisits(browser, site.url, setting)
          await measure(browser, site.url, setting, options)
        }
      }
    }
  } finally {
    await browser.close()
    await site.stop()
    cleanUp()
  }
}

/** From the start of a navigation to the first picture, when all files are in the browser already. */
async function measureVisits(browser: Browser, url: string, { network, task }: Setting): Promise<void> {
  const context = await browser.newContext()
  const times: number[] = []
  for (let visit = 0; visit < 4; visit++) {
    // A page of its own: in one that is loaded again, what was compiled may still be there.
    const page = await context.newPage()
    await limitThreads(page, task.threads)
    await page.goto(`${url}/bench/index.html`)
    times.push(await call(page, 'visit', `${url}/bench/${network}`, task.device, visitSteps))
    await page.close()
  }
  await context.close()
  const [first, ...warm] = times.map((time) => `${(time / 1000).toFixed(2)} s`)
  console.log(`first picture at ${visitSteps} steps: ${first}; on warm visits ${warm.join(', ')}`)
}

/** The module takes as many threads as there are cores. */
async function limitThreads(page: Page, threads: number): Promise<void> {
  await page.addInitScript(
    (threads) => Object.defineProperty(navigator, 'hardwareConcurrency', { value: threads }),
    threads,
  )
}

async function measure(
  browser: Browser,
  url: string,
  { network, task, steps, torch }: Setting,
  { sampler, seconds }: Pick<Options, 'sampler' | 'seconds'>,
): Promise<void> {
  const context = await browser.newContext({ serviceWorkers: 'block' })
  const page = await context.newPage()
  // TensorFlow.js starts its threads from scripts in memory, which the edge's content policy refuses.
  await page.route('**/bench/tfjs.js', async (route) => {
    const response = await route.fetch()
    const { 'content-security-policy': _, ...headers } = response.headers()
    await route.fulfill({ response, headers })
  })
  await limitThreads(page, task.threads)
  await page.goto(`${url}/bench/index.html`)
  const script = task.device === 'wasm' ? '/bench/onnx-wasm.js' : '/bench/onnx-jspi.js'
  const base = `${url}/bench/${network}`
  const ours = `${base}/export/model.onnx`
  const all = [
    ['network', script, 'network', ours],
    ['loop', script, 'loop', ours],
    ...(torch ? ([['torch', script, 'network', `${base}/torch.onnx`]] as const) : []),
    ['tfjs', '/bench/tfjs.js', 'network', `${base}/tfjs/model.json`],
  ] as const
  try {
    const reason = await call(page, 'load', `${url}/bench/${network}`, task.device)
    console.log(`module runs on ${reason}`)
    const contenders: string[] = []
    let expected: readonly number[] = []
    for (const [name, path, kind, graph] of all) {
      try {
        await call(page, 'open', name, `${url}${path}`, kind, { ...task, graph })
        const output = await call(page, 'check', name)
        if (name === 'network') expected = output
        assertSame(name, output, expected)
        contenders.push(name)
      } catch (error) {
        if (name !== 'tfjs') throw error
        console.log(`tfjs: does not run here (${(error as Error).message.split('\n')[0]})`)
      }
    }

    const module = async (): Promise<[number, Times]> => {
      const worker = page.workers().find((worker) => worker.url().includes('/worker-'))!
      const take = () => worker.evaluate(() => (globalThis as unknown as { takeTimes(): Times }).takeTimes())
      await take()
      const options = { count: task.count, seed: 1, steps, sampler: sampler as 'ddpm', guidance: 1 }
      const milliseconds = await call(page, 'sample', options)
      return [milliseconds, await take()]
    }
    const rounds: Round[] = []
    const end = performance.now() + seconds * 1000
    // Idle threads of the one before go on spinning for some milliseconds.
    const rest = () => setTimeout(100)
    while (rounds.length < 3 || performance.now() < end) {
      await rest()
      const [milliseconds, times] = await module()
      const round: Round = { milliseconds: new Map([['module', milliseconds]]), times }
      for (const name of contenders) {
        await rest()
        round.milliseconds.set(name, await call(page, 'run', name, steps))
      }
      rounds.push(round)
    }
    // The first round warms everything up.
    console.log(report(rounds.slice(1), { steps, count: task.count }))
  } finally {
    await call(page, 'close')
    await context.close()
  }
}

/** One call of the page's bench. */
function call<N extends keyof Bench>(
  page: Page,
  name: N,
  ...given: Parameters<Bench[N]>
): Promise<Awaited<ReturnType<Bench[N]>>> {
  return page.evaluate(
    ([name, given]) => {
      const { bench } = globalThis as unknown as { bench: Record<string, (...given: unknown[]) => unknown> }
      return bench[name]!(...given)
    },
    [name, given] as [string, unknown[]],
  ) as Promise<Awaited<ReturnType<Bench[N]>>>
}

/** @throws UserError where contenders do not compute the same: their times would say nothing */
function assertSame(name: string, found: readonly number[], expected: readonly number[]): void {
  const largest = Math.max(...expected.map(Math.abs))
  const worst = Math.max(...expected.map((value, i) => Math.abs(value - found[i]!)))
  if (found.length === expected.length && worst <= 1e-3 * largest) return
  throw new UserError(
    `${name} computes another output than our graph does: it differs by ${worst.toExponential(1)}, of numbers up to ` +
      `${largest.toFixed(2)}. npm test tells which of the exports is wrong.`,
  )
}

await runCommand(command)
