import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { launch } from '../support/browser.ts'

const script = fileURLToPath(new URL('../../trainer/src/commands/train.ts', import.meta.url))
const tiny = [
  ...[
    '--data',
    'shapes:64',
    '--base-channels',
    '8',
    '--channel-multiples',
    '1,1',
    '--attention',
    'false,false',
  ],
  ...['--batch-size', '4', '--steps', '600', '--sample-every', '40', '--validate-every', '25'],
  ...['--sampler', 'ddim', '--sampling-steps', '2', '--checkpoint-every', '1000', '--threads', '1'],
]

let folder: string
let browser: Browser
const run = () => join(folder, 'run')
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ddpm-dashboard-'))
  browser = await launch({ webgpu: false })
})
const children: ChildProcess[] = []
after(async () => {
  for (const child of children) child.kill('SIGKILL')
  await browser?.close()
  await rm(folder, { recursive: true })
})

/** A training command in a child process. */
interface Training {
  readonly process: ChildProcess
  readonly output: () => string
  readonly url: Promise<string>
}

function train(...args: string[]): Training {
  const child = spawn(process.execPath, [script, ...args], { cwd: folder })
  children.push(child)
  let output = ''
  const url = new Promise<string>((resolve, reject) => {
    const read = (text: string) => {
      output += text
      const url = /The dashboard is at (\S+)/.exec(output)?.[1]
      if (url) resolve(url)
    }
    child.stdout.setEncoding('utf8').on('data', read)
    child.stderr.setEncoding('utf8').on('data', read)
    child.on('exit', () => reject(new Error(output)))
  })
  url.catch(() => {})
  return { process: child, output: () => output, url }
}

interface Line {
  step: number
  loss: number
  gradientNorm: number
  learningRate: number
  imagesPerSecond: number
}

function metrics(): { steps: Map<number, Line>; validation: Map<number, number> } {
  const lines = readFileSync(join(run(), 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  return {
    steps: new Map(lines.filter(({ loss }) => loss !== undefined).map((line) => [line.step, line])),
    validation: new Map(
      lines
        .filter((line) => line.validationLoss !== undefined)
        .map((line) => [line.step, line.validationLoss]),
    ),
  }
}

/** Reads the row of current values at one moment. */
async function shownFacts(page: Page): Promise<Map<string, number>> {
  const pairs = await page
    .locator('#facts > div')
    .evaluateAll((rows) =>
      rows.map((row) => [
        row.querySelector('dt')!.textContent!,
        row.querySelector('dd')!.firstChild!.textContent!,
      ]),
    )
  return new Map(pairs.map(([label, value]) => [label!, Number(value)]))
}

/** Asserts that a number shown with at least three digits equals a value. */
function assertShows(shown: number | undefined, value: number, what: string): void {
  assert.ok(Math.abs(shown! - value) <= 6e-3 * Math.abs(value), `${what}: expected ${value}, got ${shown}`)
}

function assertFactsAreMetrics(facts: Map<string, number>): void {
  const step = facts.get('Step')!
  const line = metrics().steps.get(step)
  assert.ok(line, `step ${step}`)
  assertShows(facts.get('Loss'), line.loss, 'loss')
  assertShows(facts.get('Gradient norm'), line.gradientNorm, 'gradient norm')
  assertShows(facts.get('Learning rate'), line.learningRate, 'learning rate')
  assertShows(facts.get('Images/s'), line.imagesPerSecond, 'images per second')
}

const stepShown = async (page: Page) => (await shownFacts(page)).get('Step')!
const untilStep = (page: Page, step: number) =>
  page.waitForFunction(
    (step) => Number(document.querySelector('#facts dd')?.firstChild?.textContent) >= step,
    step,
  )
const untilState = (page: Page, state: string) => page.locator(`#state[data-state="${state}"]`).waitFor()

/** Moves the pointer over the loss chart. Returns the step and the values that the legend shows for it. */
async function pointAt(page: Page, fraction: number): Promise<{ step: number; keys: Map<string, number> }> {
  const box = (await page.locator('.chart.wide .u-over').boundingBox())!
  await page.mouse.move(box.x + box.width * fraction, box.y + box.height / 2)
  // Read in one call, because the run continues to update the chart.
  const { hint, texts } = await page.locator('.chart.wide').evaluate((chart) => ({
    hint: chart.querySelector('.hint')!.textContent!,
    texts: [...chart.querySelectorAll('.key')].map((key) => key.textContent!),
  }))
  const step = Number(/step (\d+)/.exec(hint)![1])
  const keys = new Map(
    texts.map((text) => [text.split(' ')[0]!, Number(text.split(' ').slice(1).join(' '))] as const),
  )
  return { step, keys }
}

async function assertCurvesAreMetrics(page: Page): Promise<void> {
  for (const fraction of [0.001, 0.3, 0.62, 0.999]) {
    const { step, keys } = await pointAt(page, fraction)
    // Read after the page, because the run continues.
    const { steps, validation } = metrics()
    assertShows(keys.get('raw'), steps.get(step)!.loss, `loss at step ${step}`)
    const validated = [...validation.keys()].filter((at) => at <= step).at(-1)
    if (validated)
      assertShows(keys.get('validation'), validation.get(validated)!, `validation at step ${step}`)
    // Definition of the smoothed curve: normalised weights 0.9^k over the previous steps.
    let [sum, weights] = [0, 0]
    for (let at = 1; at <= step; at++) {
      const weight = 0.9 ** (step - at)
      sum += weight * steps.get(at)!.loss
      weights += weight
    }
    assertShows(keys.get('smoothed'), sum / weights, `smoothed loss at step ${step}`)
  }
}

suite('npm run train -- --dashboard', { timeout: 240_000 }, () => {
  test('follows a run through a reload, a stop, a kill and two resumptions', async () => {
    const first = train(...tiny, '--out', 'run', '--dashboard', '0')
    const url = await first.url
    const page = await browser.newPage()
    // Long enough for 600 steps on a busy machine.
    page.setDefaultTimeout(120_000)
    const errors: string[] = []
    page.on('pageerror', ({ message }) => errors.push(message))
    await page.goto(url)
    await untilStep(page, 60)
    assertFactsAreMetrics(await shownFacts(page))
    await page.locator('#viewer').waitFor()
    const seen = await stepShown(page)
    await untilStep(page, seen + 20)

    await page.reload()
    await untilStep(page, seen)
    await untilState(page, 'running')
    await assertCurvesAreMetrics(page)

    first.process.kill('SIGINT')
    await once(first.process, 'exit')
    assert.match(first.output(), /Stopped and saved at step \d+ of 600/)
    assert.match(first.output(), /GFLOP per step.*\n(.*\n)*5 steps measured: \d+ ms each/)
    await untilState(page, 'stopped')
    const stoppedAt = await stepShown(page)
    assert.equal(stoppedAt, Math.max(...metrics().steps.keys()))
    assertFactsAreMetrics(await shownFacts(page))

    const resume = () => train('--resume', 'run', '--dashboard', new URL(url).port, '--threads', '1')
    const killed = resume()
    assert.equal(await killed.url, url)
    await untilState(page, 'running')
    await untilStep(page, stoppedAt + 45)
    killed.process.kill('SIGKILL')
    await untilState(page, 'lost')

    // Steps after the last checkpoint run again. Their samples are hidden until then.
    assert.equal(await resume().url, url)
    await untilState(page, 'running')
    const shown = await page.evaluate(() =>
      ['#facts dd', '#sample-step'].map((part) =>
        Number(/\d+/.exec(document.querySelector(part)!.textContent!)![0]),
      ),
    )
    assert.ok(shown[1]! <= shown[0]!, `step, sample ${shown}`)
    await untilStep(page, stoppedAt + 10)
    assert.equal((await pointAt(page, 0.001)).step, 1)
    await untilState(page, 'finished')
    assertFactsAreMetrics(await shownFacts(page))
    assert.equal(await stepShown(page), 600)
    await assertCurvesAreMetrics(page)
    assert.deepEqual(errors, [])
    await page.close()
  })

  test('writes a report that needs no server and no network', async () => {
    const page = await browser.newPage({ viewport: { width: 390, height: 844 } })
    const requests: string[] = []
    page.on('request', (request) => {
      if (!request.url().startsWith('data:')) requests.push(request.url())
    })
    const url = pathToFileURL(join(run(), 'report.html')).href
    await page.goto(url)
    await untilState(page, 'finished')
    assertFactsAreMetrics(await shownFacts(page))
    await page.locator('.chart.wide').scrollIntoViewIfNeeded()
    await assertCurvesAreMetrics(page)

    const shownSample = () =>
      page.locator('#sample').evaluate(async (image: HTMLImageElement) => {
        await image.decode()
        return image.src.replace('data:image/png;base64,', '')
      })
    const file = (step: number) =>
      readFileSync(join(run(), 'samples', `step-${String(step).padStart(8, '0')}.png`)).toString('base64')
    assert.equal(await page.locator('#sample-step').textContent(), 'step 600')
    assert.equal(await shownSample(), file(600))
    await page.locator('#position').focus()
    await page.keyboard.press('Home')
    assert.equal(await page.locator('#sample-step').textContent(), 'step 40')
    assert.equal(await shownSample(), file(40))
    await page.keyboard.press('ArrowRight')
    assert.equal(await shownSample(), file(80))

    const [contentWidth, screenWidth] = await page.evaluate(() => [
      document.documentElement.scrollWidth,
      innerWidth,
    ])
    assert.ok(contentWidth! <= screenWidth!, `${contentWidth} pixels wide on a screen of ${screenWidth}`)
    assert.deepEqual(requests, [url])
    await page.close()
  })

  test('reports a port that is in use before training starts', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const training = train(...tiny, '--out', 'other', '--dashboard', String(port))
    const [status] = await once(training.process, 'exit')
    taken.close()
    assert.equal(status, 1, training.output())
    assert.match(
      training.output(),
      new RegExp(`Cannot start the dashboard on port ${port}: .*EADDRINUSE.*--dashboard PORT`),
    )
    assert.doesNotMatch(training.output(), /\n\s+at /)
  })
})
