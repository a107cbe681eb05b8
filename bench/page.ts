import { UserError } from '@ddpm/shared'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import type { Browser, Page } from 'playwright-core'
import { findFreePort } from '../edge/commands/hosting/workerd.ts'
import { launch } from '../test/support/browser.ts'

interface Options {
  readonly url: string
  readonly lighthouse: string
}

const command = new Command('npm run bench:page --')
  .description(
    'Measures the page in Chromium: long tasks of its main thread while it generates, and Lighthouse scores.',
  )
  .option('--url <url>', 'a server with a published model, such as npm run dev', 'http://localhost:8787')
  .option(
    '--lighthouse <module>',
    'name or path of the npm package lighthouse, which is not a dependency of this project',
    'lighthouse',
  )
  .addHelpText(
    'after',
    `
Examples:
  npm run dev                                # in another terminal
  npm install --no-save lighthouse
  npm run bench:page
  npm run bench:page -- --url http://localhost:9000`,
  )
  .action(async ({ url, lighthouse }: Options) => {
    const reached = await fetch(`${url}/healthz`).catch(() => null)
    if (!reached?.ok)
      throw new UserError(
        `Cannot measure the page: no server responds at ${url}. Start one with: npm run dev`,
      )
    await withBrowser(async (browser) => {
      for (const path of ['/?count=16', '/?count=4&steps=100&sampler=ddpm'])
        await longTasks(browser, url + path)
    })
    for (const path of ['/', '/explain/']) await audit(lighthouse, `${url}${path}`)
  })

async function withBrowser(measure: (browser: Browser) => Promise<void>, args: string[] = []): Promise<void> {
  const browser = await launch({ webgpu: false, args })
  try {
    await measure(browser)
  } finally {
    await browser.close()
  }
}

interface Task {
  readonly startTime: number
  readonly duration: number
}

/** Measures main-thread tasks of 50 ms or more (W3C Long Tasks) while the page loads and generates. */
async function longTasks(browser: Browser, url: string): Promise<void> {
  const page = await browser.newPage({ serviceWorkers: 'block' })
  await page.addInitScript(`globalThis.longTasks = []
    new PerformanceObserver((list) => globalThis.longTasks.push(...list.getEntries().map(({ startTime, duration }) =>
      ({ startTime, duration })))).observe({ type: 'longtask', buffered: true })`)
  await page.goto(url)
  const announced = (text: RegExp) =>
    page.locator('#announcement').filter({ hasText: text }).waitFor({ state: 'attached', timeout: 600_000 })
  await announced(/^Generating/)
  const from = await now(page)
  await announced(/ in \d/)
  const to = await now(page)
  await page.waitForTimeout(200)
  const tasks = (await page.evaluate('globalThis.longTasks')) as Task[]
  const paint = (await page.evaluate(
    "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN",
  )) as number
  const generating = tasks.filter(({ startTime }) => startTime >= from && startTime <= to)
  const loading = tasks.filter(({ startTime }) => startTime < from)
  console.log(`${url}: first contentful paint after ${Math.round(paint)} ms`)
  console.log(
    `  tasks over 50 ms: ${formatTasks(loading)} before the generation, ${formatTasks(generating)} in the ` +
      `${Math.round(to - from)} ms of the generation`,
  )
  await page.close()
}

function formatTasks(tasks: readonly Task[]): string {
  if (tasks.length === 0) return 'none'
  return `${tasks.length} (longest: ${Math.round(Math.max(...tasks.map(({ duration }) => duration)))} ms)`
}

async function now(page: Page): Promise<number> {
  return (await page.evaluate('performance.now()')) as number
}

/** The parts of a Lighthouse result that are used here. */
interface Result {
  readonly lhr: {
    readonly categories: Record<string, { readonly score: number | null }>
    readonly audits: Record<
      string,
      { readonly displayValue?: string; readonly score: number | null; readonly title: string }
    >
  }
}

type Lighthouse = (url: string, flags: object, config?: object) => Promise<Result | undefined>

async function audit(module: string, url: string): Promise<void> {
  const loaded = await import(module).catch(() => null)
  if (!loaded) {
    console.log(
      `${url} is not rated, because Lighthouse is not installed. Install it with: npm install --no-save lighthouse`,
    )
    return
  }
  const { default: lighthouse, desktopConfig } = loaded as { default: Lighthouse; desktopConfig: object }
  const port = await findFreePort(0, 'localhost')
  await withBrowser(async () => {
    for (const [name, config] of [
      ['phone', undefined],
      ['desktop', desktopConfig],
    ] as const) {
      const onlyCategories = ['performance', 'accessibility', 'best-practices']
      const result = await lighthouse(url, { port, logLevel: 'error', onlyCategories }, config)
      if (!result) continue
      const { categories, audits } = result.lhr
      const scores = Object.entries(categories).map(
        ([id, { score }]) => `${id} ${Math.round((score ?? 0) * 100)}`,
      )
      const times = [
        'first-contentful-paint',
        'largest-contentful-paint',
        'total-blocking-time',
        'cumulative-layout-shift',
      ]
      console.log(`${url}, ${name}: ${scores.join(', ')}`)
      console.log(`  ${times.map((id) => `${audits[id]!.title} ${audits[id]!.displayValue}`).join(', ')}`)
      const failed = Object.entries(audits).filter(([, { score }]) => score !== null && score < 0.9)
      console.log(`  below 0.9: ${failed.map(([id]) => id).join(', ') || 'nothing'}`)
    }
  }, [`--remote-debugging-port=${port}`])
}

await runCommand(command)
