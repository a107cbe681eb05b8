import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import {
  formatManifest,
  type GenerateOptions,
  generate,
  graphFile,
  type Manifest,
  toRgba,
} from '@ddpm/shared'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { buildClient } from '../../edge/build/site.ts'
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import type { Serving } from '../../edge/commands/hosting/workerd.ts'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { storeRegistry } from '../../edge/commands/publishing/registry.ts'
import type { Model, SampleOptions } from '../../edge/sampler/browser.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import { graphNames } from '../../trainer/src/inference/graph.ts'
import { type OpenedModel, openGraph } from '../../trainer/src/inference/model.ts'
import { launch } from '../support/browser.ts'
import { exportTinyModel } from '../support/model.ts'
import { putRuntime } from '../support/runtime.ts'

/** Counts how often memory of the graphics card is read back, by whomever in the worker. */
const countReadBacks = `
  const channel = new BroadcastChannel('read-backs')
  const { mapAsync } = GPUBuffer.prototype
  GPUBuffer.prototype.mapAsync = function (mode, ...rest) {
    if (mode & GPUMapMode.READ) channel.postMessage(null)
    return mapAsync.call(this, mode, ...rest)
  };`

/** What a page of this test holds. */
interface Opened {
  readonly models: Map<string, Model>
  readBacks: number
}

interface Step {
  readonly x: number[][] | null
  readonly x0: number[][] | null
}

/** What the loop on the graphics card draws in a real Chromium, and what the loop of shared draws in Node. */
describe('the loop on the graphics card', { timeout: 1_800_000 }, () => {
  let folder: string
  let serving: Serving
  let browser: Browser
  let context: BrowserContext
  let page: Page
  const models = new Map<string, { manifest: Manifest; opened: OpenedModel }>()

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ddpm-gpu-'))
    const { publicFolder, runtimeFiles } = await buildClient()
    const storage = memoryStorage()
    await putRuntime(storage, runtimeFiles)
    const registry = storeRegistry(storage, 'in memory', async () => {})
    for (const [name, changes] of [
      ['test/discs', {}],
      ['test/learned', { varianceType: 'learnedRange', predictionType: 'epsilon' }],
    ] as const) {
      const exported = join(folder, name, 'export')
      await exportTinyModel(exported, { size: 8, numResBlocks: 1, attention: [false, false], ...changes })
      const { manifest: written, files } = await readExported(exported)
      const manifest = { ...written, name }
      const graph = await readFile(join(exported, graphFile(manifest).path))
      models.set(name, { manifest, opened: await openGraph(graph, manifest, graphNames) })
      const { version } = await registry.begin(manifest, formatManifest(manifest))
      for (const file of files) await registry.send(file, () => {})
      await registry.commit(name, version, [])
    }
    serving = await serveOnNode({ storage, publicFolder, port: 0, log: () => {} })
    browser = await launch()
    context = await browser.newContext({ serviceWorkers: 'block' })
    page = await open()
  })

  after(async () => {
    for (const { opened } of models.values()) await opened.dispose()
    await browser?.close()
    await serving?.stop()
    if (folder) await rm(folder, { recursive: true, force: true })
  })

  for (const options of [
    { sampler: 'ddpm', steps: 30 },
    { sampler: 'ddpm', steps: 30, model: 'test/learned', variance: 'learnedRange' },
    { sampler: 'ddim', steps: 12, model: 'test/learned', guidance: 2.5 },
    { sampler: 'ddim', steps: 12, eta: 0.5, guidance: 2, class: 'warm', first: 3 },
    { sampler: 'ddim', steps: 12, guidance: 0, epsilon: 'raw' },
    { sampler: 'dpmpp', order: 3, steps: 12, spacing: 'karras' },
    { sampler: 'sde-dpmpp', steps: 12, clamp: null },
    { sampler: 'unipc', order: 3, steps: 12, guidance: 1 },
    { sampler: 'heun', steps: 8 },
  ] as const) {
    const { model = 'test/discs', ...asked } = options as typeof options & { model?: string }
    test(`draws what Node draws: ${Object.values(options).join(' ')}`, async () => {
      const { images, readBacks } = await draw(model, { count: 2, seed: 1, previewEvery: 0, ...asked })
      assertSame(images, (await reference(model, { count: 2, seed: 1, ...asked })).images)
      assert.equal(readBacks, 1)
    })
  }

  test('what it does not do is done by the loop of shared', async () => {
    const rescaled = { count: 2, seed: 4, steps: 6, guidance: 2, guidanceRescale: 0.7 }
    const { images, readBacks } = await draw('test/discs', { ...rescaled, previewEvery: 0 })
    assertSame(images, (await reference('test/discs', rescaled)).images)
    // Two in every step.
    assert.equal(readBacks, 2 * 6)
  })

  test('pictures on their way are x_t and x_0 of that step', async () => {
    const asked = { count: 2, seed: 9, sampler: 'unipc', order: 2, steps: 9 } as const
    const { steps, readBacks } = await draw('test/discs', { ...asked, previewEvery: 4 })
    const expected = await reference('test/discs', asked)
    assert.deepEqual(
      steps.map(({ x }) => x !== null),
      [0, 1, 2, 3, 4, 5, 6, 7, 8].map((step) => [3, 7, 8].includes(step)),
    )
    for (const step of [3, 7, 8]) {
      assertSame(steps[step]!.x!, expected.steps[step]!.x!)
      assertSame(steps[step]!.x0!, expected.steps[step]!.x0!)
    }
    assert.equal(readBacks, 3 + 1)
  })

  test('pictures that do not fit together are drawn in groups, to the same', async () => {
    const asked = { count: 5, seed: 2, sampler: 'ddpm', steps: 5 } as const
    const small = `Object.defineProperty(navigator, 'deviceMemory', { value: 0.008 })`
    const narrow = await open(small)
    const { images, readBacks } = await draw('test/discs', { ...asked, previewEvery: 0 }, narrow)
    await narrow.close()
    assertSame(images, (await reference('test/discs', asked)).images)
    // Of 2, 2 and 1 pictures.
    assert.equal(readBacks, 3)
  })

  test('it starts from given pictures and stops when told', async () => {
    const init = Float32Array.from({ length: 2 * 3 * 64 }, (_, i) => Math.sin(i))
    const asked = { count: 2, seed: 3, steps: 10, strength: 0.5 }
    const { images } = await draw('test/discs', { ...asked, init, previewEvery: 0 })
    assertSame(images, (await reference('test/discs', { ...asked, init: init })).images)
    const end = await page.evaluate(async () => {
      const model = (globalThis as unknown as Opened).models.get('test/discs')!
      const controller = new AbortController()
      let steps = 0
      const onStep = () => ++steps === 3 && controller.abort()
      const { signal } = controller
      const error = await model
        .sample({ count: 2, seed: 1, steps: 500, onStep, signal })
        .catch((error) => error)
      return { name: error.name as string, steps }
    })
    assert.deepEqual(end, { name: 'AbortError', steps: 3 })
    const again = { count: 2, seed: 1, steps: 2 }
    const { images: after } = await draw('test/discs', { ...again, previewEvery: 0 })
    assertSame(after, (await reference('test/discs', again)).images)
  })

  /** A page whose workers count what is read back. */
  async function open(script = ''): Promise<Page> {
    const page = await context.newPage()
    if (script) await page.addInitScript(script)
    await page.route('**/worker-*.js', async (route) => {
      const response = await route.fetch()
      await route.fulfill({ response, body: countReadBacks + (await response.text()) })
    })
    await page.goto(`${serving.url}/icon.svg`)
    await page.evaluate(() => {
      const opened = Object.assign(globalThis, { models: new Map<string, Model>(), readBacks: 0 })
      new BroadcastChannel('read-backs').onmessage = () => opened.readBacks++
    })
    return page
  }

  /** Draws on WebGPU: RGBA per picture, the steps, and how often something was read back meanwhile. */
  function draw(name: string, { init, ...options }: SampleOptions, on = page) {
    return on.evaluate(
      async ({ name, options, init }) => {
        const opened = globalThis as unknown as Opened
        const path = '/sampler.js'
        const { load } = (await import(path)) as typeof import('../../edge/sampler/browser.ts')
        const model = opened.models.get(name) ?? (await load(name, { device: 'webgpu' }))
        opened.models.set(name, model)
        // Messages of the first run, which tries the network out.
        await new Promise((resolve) => setTimeout(resolve, 200))
        opened.readBacks = 0
        const rgba = (images: ImageData[] | null) => images?.map(({ data }) => [...data]) ?? null
        const steps: Step[] = []
        const images = await model.sample({
          ...options,
          ...(init && { init: new Float32Array(init) }),
          onStep: ({ x, x0 }) => steps.push({ x: rgba(x), x0: rgba(x0) }),
        })
        await new Promise((resolve) => setTimeout(resolve, 200))
        return {
          images: images.map(({ pixels }) => [...pixels.data]),
          steps,
          readBacks: opened.readBacks,
        }
      },
      { name, options, init: init && [...(init as Float32Array)] },
    )
  }

  /** The same with onnxruntime-node and the loop of shared. */
  async function reference(
    name: string,
    { class: className, ...options }: GenerateOptions & { class?: string },
  ) {
    const { manifest, opened } = models.get(name)!
    const rgba = (values: Float32Array) =>
      Array.from({ length: options.count }, (_, i) => [...toRgba(values, i, manifest.shape)])
    const steps: Step[] = []
    const values = await generate(manifest, opened.network, {
      ...options,
      ...(className !== undefined && { className }),
      onStep({ x, x0 }) {
        steps.push({ x: rgba(x), x0: rgba(x0) })
      },
    })
    return { images: rgba(values), steps }
  }
})

/** Equal within 2/255 at every pixel: devices round differently. */
function assertSame(found: number[][], expected: number[][]): void {
  const differences = found.flatMap((image, i) => image.map((byte, k) => Math.abs(byte - expected[i]![k]!)))
  assert.equal(differences.length, expected.flat().length)
  const worst = differences.reduce((most, difference) => Math.max(most, difference), 0)
  assert.ok(worst <= 2, `pictures differ by up to ${worst}/255`)
}
