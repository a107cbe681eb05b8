// Measures the sampler module in a real Chromium, compared with a plain loop, PyTorch's export and TensorFlow.js.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { parseChoice, parseWholeNumberWithin, runCommand } from '@ddpm/shared/cli'
import { Command, Option } from 'commander'
import type { Browser } from 'playwright-core'
import { launch, launchWithProfile } from '../test/support/browser.ts'
import { measured, type WrittenNetwork, writeNetwork } from './browser/networks.ts'
import { report } from './browser/report.ts'
import { openSite } from './browser/site.ts'
import { call, limitThreads, runTrial, type Setting, type TrialResult } from './browser/trial.ts'
import { findTorch } from './torch.ts'

/** Number of steps for the first image of a visit. */
const visitSteps = 15
/** Number of trials. In each, all contenders are opened again and measured in rounds. */
const trialCount = 2
const names = Object.keys(measured)
const devices = ['wasm', 'webgpu'] as const
const words = (allowed: readonly string[]) => (text: string) => text.split(',').map(parseChoice(allowed))
const command = new Command('npm run bench:browser --')
  .description('Measures the sampler module in a real Chromium, compared with other implementations there.')
  .addOption(
    new Option('--network <list>', names.join(',')).argParser(words(names)).default(names, names.join(',')),
  )
  .addOption(
    new Option('--device <list>', devices.join(','))
      .argParser(words(devices))
      .default(devices, devices.join(',')),
  )
  .addOption(
    new Option('--threads <list>', 'numbers of WebAssembly threads')
      .argParser((text) => text.split(',').map(parseWholeNumberWithin(1, 64)))
      .default([1, 2], '1,2'),
  )
  .option('--count <n>', 'batch size (default: 4; cifar10 and WebGPU: 1)', parseWholeNumberWithin(1, 256))
  .option(
    '--steps <n>',
    'steps per measurement (default: 15; cifar10 and WebGPU: 3)',
    parseWholeNumberWithin(1, 1000),
  )
  .option('--sampler <name>', 'sampler, as for npm run sample', 'ddpm')
  .option(
    '--seconds <n>',
    'time limit per table; the first rounds always run',
    parseWholeNumberWithin(0, 3600),
    30,
  )
  .option('--python <program>', 'a Python with PyTorch (default: python3 or /usr/bin/python3)')
  .addHelpText(
    'after',
    `
The networks have the sizes of the recipes and untrained weights. In each round, every contender runs once, in its own
worker, with the same batch size and the same number of threads:
  module    model.sample of the sampler module, with noise, sampler, previews and messages
  network   only the same graph in the same onnxruntime-web
  loop      the same graph in a plain loop, which copies the output back from the device in every step
  torch     only the graph as PyTorch's exporter writes it, in the same onnxruntime-web
  tfjs      only the graph model of npm run export -- --format tfjs, in TensorFlow.js
WebGPU runs in software (SwiftShader). These times are no indication of the speed on a GPU.

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
      `torch: ${exporter ?? 'not measured, because PyTorch is not installed. On Debian: apt-get install python3-torch'}`,
    )
    for (const [network, { manifest, parameters }] of written) {
      for (const device of options.device) {
        for (const threads of device === 'wasm' ? options.threads : [1]) {
          const few = network === 'cifar10' || device === 'webgpu'
          const { count = few ? 1 : 4, steps = few ? 3 : 15 } = options
          if (device === 'webgpu' && network === 'cifar10' && options.count === undefined) {
            console.log(
              '\ncifar10 on WebGPU: skipped, because a software adapter needs minutes. Set --count to measure it.',
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
          const deviceText =
            device === 'wasm' ? `WebAssembly, ${threads} thread${threads === 1 ? '' : 's'}` : 'WebGPU'
          const { channels, height, width } = manifest.shape
          console.log(
            `\n${network}: ${channels}×${height}×${width}, ${parameters.toLocaleString('en')} parameters; ${deviceText}; ` +
              `batch size ${count}, ${options.sampler}, ${steps} steps`,
          )
          const setting = { network, task, steps, torch: exporter !== null }
          await measureVisits(folder, site.url, setting)
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

/** Measures the time from navigation start to the first image, with all files already in the browser. */
async function measureVisits(folder: string, url: string, { network, task }: Setting): Promise<void> {
  const profile = mkdtempSync(join(folder, 'profile-'))
  const context = await launchWithProfile(profile)
  const times: number[] = []
  for (let visit = 0; visit < 6; visit++) {
    // A new page: a reloaded one may still hold compiled code.
    const page = await context.newPage()
    await limitThreads(page, task.threads)
    await page.goto(`${url}/bench/index.html`)
    times.push(await call(page, 'visit', `${url}/bench/${network}`, task.device, visitSteps))
    // The browser compiles and caches code while the visitor looks at the image.
    await setTimeout(3000)
    await page.close()
  }
  await context.close()
  const [first, ...warm] = times.map((time) => `${(time / 1000).toFixed(2)} s`)
  console.log(`first image with ${visitSteps} steps: ${first}; on warm visits ${warm.join(', ')}`)
}

/** Measures in several trials: the memory addresses of an onnxruntime session change its speed by 1 to 2 %. */
async function measure(
  browser: Browser,
  url: string,
  setting: Setting,
  { sampler, seconds }: Pick<Options, 'sampler' | 'seconds'>,
): Promise<void> {
  const start = performance.now()
  const trials: TrialResult[] = []
  for (let i = 1; i <= trialCount; i++) {
    const until = start + (seconds * 1000 * i) / trialCount
    trials.push(await runTrial(browser, url, setting, sampler, until))
  }
  const [{ reason, contenders }] = trials as [TrialResult]
  console.log(`module runs on ${reason}`)
  const rounds = trials.flatMap(({ rounds }) => rounds)
  console.log(report(contenders, rounds, { steps: setting.steps, count: setting.task.count }))
}

await runCommand(command)
