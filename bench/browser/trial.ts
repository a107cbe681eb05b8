import { setTimeout } from 'node:timers/promises'
import { domains, randomPermutation, UserError } from '@ddpm/shared'
import type { Browser, Page } from 'playwright-core'
import type { Task } from './contender.ts'
import type { Bench } from './page.ts'
import type { Round } from './report.ts'
import type { Times } from './stopwatch.ts'

/** A network and the settings of its measurement. */
export interface Setting {
  readonly network: string
  readonly task: Omit<Task, 'graph'>
  readonly steps: number
  readonly torch: boolean
}

/** Results of one trial. */
export interface TrialResult {
  /** The device that the module chose, with the reason. */
  readonly reason: string
  readonly contenders: readonly string[]
  readonly rounds: readonly Round[]
}

/** Limits the number of threads: the module reads the number of cores from `navigator.hardwareConcurrency`. */
export async function limitThreads(page: Page, threads: number): Promise<void> {
  await page.addInitScript(
    (threads) => Object.defineProperty(navigator, 'hardwareConcurrency', { value: threads }),
    threads,
  )
}

/** Number of rounds that are not measured. */
const warmUp = 5

/**
 * Runs one trial: opens every contender, measures rounds and closes the contenders. In each round, every contender runs
 * once. The first rounds are a warm-up, because the browser still compiles frequently used code. At least three measured
 * rounds follow.
 * @param until end time, as returned by `performance.now()`
 * @returns the contenders that run in this browser, and the measured rounds
 */
export async function runTrial(
  browser: Browser,
  url: string,
  { network, task, steps, torch }: Setting,
  sampler: string,
  until: number,
): Promise<TrialResult> {
  const context = await browser.newContext({ serviceWorkers: 'block' })
  const page = await context.newPage()
  // TensorFlow.js starts threads from blob URLs, which the edge's Content-Security-Policy forbids.
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
    const contenders = ['module']
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
        console.log(`tfjs: does not run in this browser (${(error as Error).message.split('\n')[0]})`)
      }
    }

    const worker = page.workers().find((worker) => worker.url().includes('/worker-'))!
    const takeTimes = () =>
      worker.evaluate(() => (globalThis as unknown as { takeTimes(): Times }).takeTimes())
    const options = { count: task.count, seed: 1, steps, sampler: sampler as 'ddpm', guidance: 1 }
    const runContender = (name: string) =>
      name === 'module' ? call(page, 'sample', options) : call(page, 'run', name, steps)
    const rounds: Round[] = []
    while (rounds.length < warmUp + 3 || performance.now() < until) {
      const milliseconds = new Map<string, number>()
      await takeTimes()
      // The order is random, because the previous contender affects clock speed and caches.
      const order = { domain: domains.shuffle, image: 0, step: rounds.length }
      for (const index of randomPermutation(1, order, contenders.length)) {
        const name = contenders[index]!
        // The idle threads of the previous contender use the CPU for some more milliseconds.
        await setTimeout(100)
        milliseconds.set(name, await runContender(name))
      }
      rounds.push({ milliseconds, times: await takeTimes() })
    }
    return { reason, contenders, rounds: rounds.slice(warmUp) }
  } finally {
    await call(page, 'close')
    await context.close()
  }
}

/** Calls a function of the page's `bench` object. */
export function call<N extends keyof Bench>(
  page: Page,
  name: N,
  ...args: Parameters<Bench[N]>
): Promise<Awaited<ReturnType<Bench[N]>>> {
  return page.evaluate(
    ([name, args]) => {
      const { bench } = globalThis as unknown as { bench: Record<string, (...args: unknown[]) => unknown> }
      return bench[name]!(...args)
    },
    [name, args] as [string, unknown[]],
  ) as Promise<Awaited<ReturnType<Bench[N]>>>
}

/** Throws a UserError if contenders compute different outputs, because their times could not be compared. */
function assertSame(name: string, actual: readonly number[], expected: readonly number[]): void {
  const largest = Math.max(...expected.map(Math.abs))
  const worst = Math.max(...expected.map((value, i) => Math.abs(value - actual[i]!)))
  if (actual.length === expected.length && worst <= 1e-3 * largest) return
  throw new UserError(
    `Cannot compare ${name}: its output differs from that of this project's graph by up to ${worst.toExponential(1)} ` +
      `(the largest value is ${largest.toFixed(2)}). Run npm test to find out which export is wrong.`,
  )
}
