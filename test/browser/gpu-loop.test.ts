import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { formatManifest, type GenerateOptions, generate, graphFile, type Manifest } from '@ddpm/shared'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { buildSite } from '../../edge/build/site.ts'
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import type { RunningServer } from '../../edge/commands/hosting/workerd.ts'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { storeRegistry } from '../../edge/commands/publishing/registry.ts'
import type { Model, SampleOptions } from '../../edge/sampler/browser.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import { graphNames } from '../../trainer/src/inference/graph.ts'
import { type OpenedModel, openGraph } from '../../trainer/src/inference/model.ts'
import { launch } from '../support/browser.ts'
import { toRgbaImages } from '../support/images.ts'
import { exportTinyModel } from '../support/model.ts'
import { storeRuntimeFiles } from '../support/runtime.ts'

/** Worker script that counts how often GPU memory is read back. */
const countReadBacks = `
  const channel = new BroadcastChannel('read-backs')
  const { mapAsync } = GPUBuffer.prototype
  GPUBuffer.prototype.mapAsync = function (mode, ...rest) {
    if (mode & GPUMapMode.READ) channel.postMessage(null)
    return mapAsync.call(this, mode, ...rest)
  };`

/** Globals of the test page. */
interface PageState {
  readonly models: Map<string, Model>
  readBacks: number
}

interface Step {
  readonly x: number[][] | null
  readonly x0: number[][] | null
}

/** Compares the GPU's sampling loop in Chromium with the loop of @ddpm/shared in Node. */
describe('sampling loop on the GPU', { timeout: 1_800_000 }, () => {
  let folder: string
  let serving: RunningServer
  let browser: Browser
  let context: BrowserContext
  let page: Page
  const models = new Map<string, { manifest: Manifest; opened: OpenedModel }>()

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ddpm-gpu-'))
    const { publicFolder, runtimeFiles } = await buildSite()
    const storage = memoryStorage()
    await storeRuntimeFiles(storage, runtimeFiles)
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
    const { model = 'test/discs', ...rest } = options as typeof options & { model?: string }
    const sampling = { count: 2, seed: 1, ...rest }
    test(`generates the same images as Node: ${Object.values(options).join(' ')}`, async () => {
      const { images, readBacks } = await sample(model, { ...sampling, previewEvery: 0 })
      assertSame(images, (await reference(model, sampling)).images)
      assert.equal(readBacks, 1)
    })
  }

  test('unsupported options run in the loop of @ddpm/shared', async () => {
    const rescaled = { count: 2, seed: 4, steps: 6, guidance: 2, guidanceRescale: 0.7 }
    const { images, readBacks } = await sample('test/discs', { ...rescaled, previewEvery: 0 })
    assertSame(images, (await reference('test/discs', rescaled)).images)
    // Two per step.
    assert.equal(readBacks, 2 * 6)
  })

  test('previews are x_t and the predicted x̂₀ of their step', async () => {
    const sampling = { count: 2, seed: 9, sampler: 'unipc', order: 2, steps: 9 } as const
    const { steps, readBacks } = await sample('test/discs', { ...sampling, previewEvery: 4 })
    const expected = await reference('test/discs', sampling)
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

  test('images that do not fit into one batch are generated in several, with the same result', async () => {
    const sampling = { count: 5, seed: 2, sampler: 'ddpm', steps: 5 } as const
    const lowMemory = `Object.defineProperty(navigator, 'deviceMemory', { value: 0.008 })`
    const other = await open(lowMemory)
    const { images, readBacks } = await sample('test/discs', { ...sampling, previewEvery: 0 }, other)
    await other.close()
    assertSame(images, (await reference('test/discs', sampling)).images)
    // One read-back for each batch: 2, 2 and 1 images.
    assert.equal(readBacks, 3)
  })

  test('starts from init images and stops when aborted', async () => {
    const init = Float32Array.from({ length: 2 * 3 * 64 }, (_, i) => Math.sin(i))
    const sampling = { count: 2, seed: 3, steps: 10, strength: 0.5 }
    const { images } = await sample('test/discs', { ...sampling, init, previewEvery: 0 })
    assertSame(images, (await reference('test/discs', { ...sampling, init })).images)
    const end = await page.evaluate(async () => {
      const model = (globalThis as unknown as PageState).models.get('test/discs')!
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
    const { images: after } = await sample('test/discs', { ...again, previewEvery: 0 })
    assertSame(after, (await reference('test/discs', again)).images)
  })

  /** Opens a page that counts the read-backs of GPU memory in its workers. */
  async function open(script = ''): Promise<Page> {
    const page = await context.newPage()
    if (script) await page.addInitScript(script)
    await page.route('**/worker-*.js', async (route) => {
      const response = await route.fetch()
      await route.fulfill({ response, body: countReadBacks + (await response.text()) })
    })
    await page.goto(`${serving.url}/icon.svg`)
    await page.evaluate(() => {
      const state = Object.assign(globalThis, { models: new Map<string, Model>(), readBacks: 0 })
      new BroadcastChannel('read-backs').onmessage = () => state.readBacks++
    })
    return page
  }

  /** Generates images on WebGPU. Returns their RGBA bytes, the steps, and the number of read-backs. */
  function sample(name: string, { init, ...options }: SampleOptions, on = page) {
    return on.evaluate(
      async ({ name, options, init }) => {
        const state = globalThis as unknown as PageState
        const path = '/sampler.js'
        const { load } = (await import(path)) as typeof import('../../edge/sampler/browser.ts')
        const model = state.models.get(name) ?? (await load(name, { device: 'webgpu' }))
        state.models.set(name, model)
        // Waits for the read-back messages of the run that tests the session.
        await new Promise((resolve) => setTimeout(resolve, 200))
        state.readBacks = 0
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
          readBacks: state.readBacks,
        }
      },
      { name, options, init: init && [...(init as Float32Array)] },
    )
  }

  /** Generates the same images with onnxruntime-node and the loop of @ddpm/shared. */
  async function reference(
    name: string,
    { class: className, ...options }: GenerateOptions & { class?: string },
  ) {
    const { manifest, opened } = models.get(name)!
    const rgba = (values: Float32Array) => toRgbaImages(values, manifest)
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

/** Asserts that images are equal within 2/255 per pixel: devices round differently. */
function assertSame(actual: number[][], expected: number[][]): void {
  const differences = actual.flatMap((image, i) => image.map((byte, k) => Math.abs(byte - expected[i]![k]!)))
  assert.equal(differences.length, expected.flat().length)
  const worst = differences.reduce((max, difference) => Math.max(max, difference), 0)
  assert.ok(worst <= 2, `images differ by up to ${worst}/255`)
}
