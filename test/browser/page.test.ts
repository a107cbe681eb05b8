import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import {
  formatManifest,
  type GenerateOptions,
  generate,
  graphFile,
  type Manifest,
  type Network,
  toRgba,
} from '@ddpm/shared'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { buildClient } from '../../edge/build/site.ts'
import { localBucket, type Opened } from '../../edge/commands/hosting/local-bucket.ts'
import { sendRuntime, storageTarget } from '../../edge/commands/hosting/runtime-files.ts'
import { type Serving, serve } from '../../edge/commands/hosting/workerd.ts'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { storeRegistry } from '../../edge/commands/publishing/registry.ts'
import type { SampleOptions } from '../../edge/sampler/browser.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { begin, commit } from '../../edge/server/registry/publishing.ts'
import { launch } from '../support/browser.ts'
import { assertSameImages, nodeNetwork } from '../support/images.ts'
import { exportTinyModel } from '../support/model.ts'
import { type Between, startProxy } from '../support/proxy.ts'

/** A real Chromium, a real workerd, and pictures that onnxruntime-node draws from the same files. */
describe('in the browser', { timeout: 500_000 }, () => {
  let folder: string
  let publicFolder: string
  let manifest: Manifest
  let network: Network
  let bucket: Opened
  let serving: Serving
  let site: Between
  let browser: Browser
  let context: BrowserContext

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ddpm-browser-'))
    const exported = join(folder, 'export')
    // Small enough for WebGPU on a CPU, deep enough to go down and up again.
    await exportTinyModel(exported, { size: 8, numResBlocks: 1, attention: [false, false] })
    const { manifest: written, files } = await readExported(exported)
    manifest = written
    network = await nodeNetwork(exported, manifest)

    const client = await buildClient()
    publicFolder = client.publicFolder
    const persistTo = join(folder, 'state')
    bucket = await localBucket(persistTo)
    await sendRuntime(storageTarget(bucket.storage), client.runtimeFiles)
    const registry = storeRegistry(bucket.storage, 'locally', bucket.close)
    const { version } = await registry.begin(manifest, formatManifest(manifest))
    for (const file of files) await registry.send(file, () => {})
    await registry.commit(manifest.name, version, [])
    serving = await serve({ port: 0, persistTo, publicFolder, quiet: true })
    site = await startProxy(serving.url)
    browser = await launch()
    // What stands between page and server must not be bypassed; there is a test of its own for being offline.
    context = await browser.newContext({ serviceWorkers: 'block' })
  })

  /** What pages threw, and how they broke their own content policy. */
  const complaints: string[] = []
  afterEach(() => assert.deepEqual(complaints.splice(0), []))

  after(async () => {
    await browser?.close()
    await site?.close()
    await serving?.stop()
    await bucket?.close()
    if (folder) await rm(folder, { recursive: true, force: true })
  })

  test('before anything is published, the page says how to train and publish', async () => {
    const empty = await serve({ port: 0, persistTo: join(folder, 'empty'), publicFolder, quiet: true })
    const page = await context.newPage()
    await page.goto(empty.url)
    await page.getByRole('alert').filter({ hasText: 'npm start' }).waitFor()
    assert.equal(await page.locator('#draw').isDisabled(), true)
    await page.close()
    await empty.stop()
  })

  for (const [device, options] of [
    ['webgpu', { sampler: 'ddim', steps: 20 }],
    ['wasm', { sampler: 'ddim', steps: 20 }],
    ['wasm', { sampler: 'ddpm', steps: 100 }],
    ['wasm', { sampler: 'unipc', order: 3, spacing: 'karras', steps: 12 }],
    ['wasm', { sampler: 'sde-dpmpp', steps: 12 }],
    ['wasm', { sampler: 'heun', steps: 8 }],
    ['wasm', { sampler: 'ddim', steps: 10, eta: 0.5, class: 'warm', guidance: 2, first: 3 }],
  ] as const) {
    const { sampler, steps } = options
    test(`${device} draws what onnxruntime-node draws: ${sampler}, ${steps} steps`, async () => {
      const page = await open('/icon.svg')
      const asked = { count: 16, seed: 1, ...options }
      const found = await draw(page, { device, options: asked })
      assert.equal(found.device, device)
      assertSameImages(found.images, await reference(asked))
      const others = await draw(page, { device: 'wasm', options: { ...asked, seed: 2 } })
      const differing = others.images.flat().filter((byte, i) => Math.abs(byte - found.images.flat()[i]!) > 8)
      assert.ok(differing.length > 16 * 64, `another seed changed only ${differing.length} bytes`)
      await page.close()
    })
  }

  test('without promise integration WebGPU runs in the asyncify build', async () => {
    const page = await open('/icon.svg', 'delete WebAssembly.Suspending')
    const asked = { count: 1, seed: 7, steps: 2 }
    const found = await draw(page, { device: 'auto', options: asked })
    assert.match(found.deviceReason, /^WebGPU: /)
    assert.ok(site.paths.includes('/worker-webgpu.js'))
    assertSameImages(found.images, await reference(asked))
    await page.close()
  })

  test('where WebGPU turns out not to work, WebAssembly takes over and says why', async () => {
    const page = await open('/icon.svg')
    // As in browsers that have WebGPU in pages and not in workers.
    await page.route('**/worker-jspi.js', async (route) => {
      const response = await route.fetch()
      const body = `Object.defineProperty(navigator, 'gpu', { value: undefined });${await response.text()}`
      await route.fulfill({ response, body })
    })
    const asked = { count: 2, seed: 7, steps: 4 }
    const found = await draw(page, { device: 'auto', options: asked })
    assert.equal(found.device, 'wasm')
    assert.match(found.deviceReason, /^WebAssembly, \d threads?: WebGPU: .* could not run this model \(.+\)$/)
    assertSameImages(found.images, await reference(asked))
    await page.close()
  })

  test('a page of another origin, not isolated, draws the same pictures', async () => {
    const other = createServer((_, response) =>
      response.setHeader('Content-Type', 'text/html').end('<!doctype html>'),
    )
    await new Promise<void>((resolve) => other.listen(0, 'localhost', resolve))
    const page = await context.newPage()
    await page.goto(`http://localhost:${(other.address() as AddressInfo).port}/`)
    assert.equal(await page.evaluate(() => crossOriginIsolated), false)
    const asked = { count: 2, seed: 7, steps: 10 }
    const found = await draw(page, { device: 'wasm', options: asked, name: `${site.url}/${manifest.name}` })
    assert.match(found.deviceReason, /^WebAssembly, 1 thread:/)
    assertSameImages(found.images, await reference(asked))
    await page.close()
    other.close()
  })

  test('a second load takes every file from the cache', async () => {
    const fresh = await browser.newContext({ serviceWorkers: 'block' })
    const page = await open('/icon.svg', '', fresh)
    const asked = { count: 1, seed: 7, steps: 2 }
    const from = site.paths.length
    await draw(page, { device: 'wasm', options: asked })
    const first = site.paths.slice(from).filter((path) => path.startsWith('/files/'))
    assert.ok(first.includes(`/files/${graphFile(manifest).sha256}`))
    const again = site.paths.length
    const { progress } = await draw(page, { device: 'wasm', options: asked })
    assert.deepEqual(
      site.paths.slice(again).filter((path) => path.startsWith('/files/')),
      [],
    )
    assert.deepEqual(progress, ['prepare'])
    await fresh.close()
  })

  test('contents that are not what the hash promises are refused and not kept', async () => {
    const sha256 = 'ab'.repeat(32)
    const { bytes } = graphFile(manifest)
    await bucket.storage.put(keys.file(sha256), 'x'.repeat(bytes), { mediaType: 'application/octet-stream' })
    const files = manifest.files.map((file) => (file.role === 'graph' ? { ...file, sha256 } : file))
    const damaged = formatManifest({ ...manifest, name: 'test/damaged', files })
    const { version } = await begin(bucket.storage, damaged)
    await commit(bucket.storage, 'test/damaged', version, [])
    const page = await open('/icon.svg')
    const failure = await draw(page, { name: 'test/damaged', device: 'wasm' }).catch(String)
    assert.match(
      String(failure),
      new RegExp(`wrong contents: found SHA-256 [0-9a-f]{64}, expected ${sha256}`),
    )
    const kept = await page.evaluate(async () => {
      const cache = await caches.open('ddpm-files')
      return (await cache.keys()).map(({ url }) => url)
    })
    assert.ok(kept.every((url) => !url.includes(sha256)))
    await page.close()
  })

  test('an unknown model and an impossible address are explained', async () => {
    const page = await open('/icon.svg')
    assert.match(String(await draw(page, { name: 'test/nothing' }).catch(String)), /test\/nothing/)
    assert.match(String(await draw(page, { name: 'nothing' }).catch(String)), /expected owner\/name/)
    await page.close()
  })

  test('drawing and loading stop when told, and the model draws on', async () => {
    const page = await open('/icon.svg')
    const asked = { count: 2, seed: 5, steps: 4 }
    const found = await page.evaluate(async (options) => {
      const path = '/sampler.js'
      const { load } = (await import(path)) as typeof import('../../edge/sampler/browser.ts')
      const outcome = (promise: Promise<unknown>) =>
        promise.then(
          () => 'done',
          (error) => error.name as string,
        )
      const early = new AbortController()
      const loading = outcome(
        load('test/discs', { device: 'wasm', signal: early.signal, onProgress: () => early.abort() }),
      )
      const loadingEnd = await loading

      const model = await load('test/discs', { device: 'wasm' })
      const late = new AbortController()
      let steps = 0
      const onStep = () => ++steps === 3 && late.abort()
      const drawing = model.sample({ count: 2, sampler: 'ddpm', steps: 1000, signal: late.signal, onStep })
      const drawingEnd = await outcome(drawing)
      const images = await model.sample(options)
      const stepsInAll = steps
      const waiting = outcome(model.sample({ steps: 1000, sampler: 'ddpm' }))
      model.dispose()
      const afterDispose = await waiting
      return {
        loadingEnd,
        drawingEnd,
        stepsInAll,
        afterDispose,
        images: images.map(({ pixels }) => [...pixels.data]),
      }
    }, asked)
    assert.equal(found.loadingEnd, 'AbortError')
    assert.equal(found.drawingEnd, 'AbortError')
    assert.equal(found.stepsInAll, 3)
    assert.equal(found.afterDispose, 'SamplerError')
    assertSameImages(found.images, await reference(asked))
    await page.close()
  })

  /** A page of the site; what it complains of fails the test that has it open. */
  async function open(path: string, script = '', where = context): Promise<Page> {
    const page = await where.newPage()
    if (script) await page.addInitScript(script)
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy/.test(message.text()))
        complaints.push(message.text())
    })
    await page.goto(`${site.url}${path}`)
    return page
  }

  /** Loads a model through the public module and draws: RGBA bytes per picture. */
  function draw(
    page: Page,
    ask: { name?: string; device?: 'auto' | 'webgpu' | 'wasm'; options?: SampleOptions },
  ): Promise<{ device: string; deviceReason: string; progress: string[]; images: number[][] }> {
    const { name = 'test/discs', device = 'auto', options = { seed: 1 } } = ask
    return page.evaluate(
      async ({ module, name, device, options }) => {
        const { load } = (await import(module)) as typeof import('../../edge/sampler/browser.ts')
        const progress: string[] = []
        const model = await load(name, { device, onProgress: ({ stage }) => progress.push(stage) })
        const images = await model.sample(options)
        model.dispose()
        const bytes = images.map(({ pixels }) => [...pixels.data])
        return { device: model.device, deviceReason: model.deviceReason, progress, images: bytes }
      },
      { module: `${site.url}/sampler.js`, name, device, options },
    )
  }

  /** The same drawing with onnxruntime-node: RGBA bytes per picture. */
  async function reference({ class: className = null, ...rest }: Asked): Promise<number[][]> {
    const options = { ...rest, className }
    const values = await generate(manifest, network, options)
    return Array.from({ length: options.count }, (_, i) => [...toRgba(values, i, manifest.shape)])
  }
})

type Asked = GenerateOptions & Pick<SampleOptions, 'class'>
