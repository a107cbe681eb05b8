import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { formatManifest, graphFile, type Manifest, type Network } from '@ddpm/shared'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { buildSite } from '../../edge/build/site.ts'
import { type OpenBucket, openLocalBucket } from '../../edge/commands/hosting/local-bucket.ts'
import { storageTarget, uploadRuntimeFiles } from '../../edge/commands/hosting/runtime-files.ts'
import { type RunningServer, serveOnWorkerd } from '../../edge/commands/hosting/workerd.ts'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { storeRegistry } from '../../edge/commands/publishing/registry.ts'
import type { SampleOptions } from '../../edge/sampler/browser.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { begin, commit } from '../../edge/server/registry/publishing.ts'
import { launch, presentAsGpu } from '../support/browser.ts'
import { assertSameImages, generateReference, nodeNetwork, type ReferenceOptions } from '../support/images.ts'
import { exportTinyModel } from '../support/model.ts'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'

/** Compares images from Chromium, served by workerd, with images from onnxruntime-node and the same files. */
describe('site in the browser', { timeout: 500_000 }, () => {
  let folder: string
  let publicFolder: string
  let manifest: Manifest
  let network: Network
  let bucket: OpenBucket
  let serving: RunningServer
  let site: FaultyProxy
  let browser: Browser
  let context: BrowserContext

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ddpm-browser-'))
    const exported = join(folder, 'export')
    // Small enough for WebGPU on a CPU, deep enough to downsample and upsample.
    await exportTinyModel(exported, { size: 8, numResBlocks: 1, attention: [false, false] })
    const { manifest: written, files } = await readExported(exported)
    manifest = written
    network = await nodeNetwork(exported, manifest)

    const client = await buildSite()
    publicFolder = client.publicFolder
    const persistTo = join(folder, 'state')
    bucket = await openLocalBucket(persistTo)
    await uploadRuntimeFiles(storageTarget(bucket.storage), client.runtimeFiles)
    const registry = storeRegistry(bucket.storage, 'locally', bucket.close)
    const { version } = await registry.begin(manifest, formatManifest(manifest))
    for (const file of files) await registry.send(file, () => {})
    await registry.commit(manifest.name, version, [])
    serving = await serveOnWorkerd({ port: 0, persistTo, publicFolder, quiet: true })
    site = await startProxy(serving.url)
    browser = await launch()
    // A service worker would bypass the proxy. Offline use has its own test.
    context = await browser.newContext({ serviceWorkers: 'block' })
    await presentAsGpu(context)
  })

  /** Uncaught errors and Content Security Policy violations of pages. */
  const pageErrors: string[] = []
  afterEach(() => assert.deepEqual(pageErrors.splice(0), []))

  after(async () => {
    await browser?.close()
    await site?.close()
    await serving?.stop()
    await bucket?.close()
    if (folder) await rm(folder, { recursive: true, force: true })
  })

  test('without published models, the page shows how to train and publish one', async () => {
    const empty = await serveOnWorkerd({
      port: 0,
      persistTo: join(folder, 'empty'),
      publicFolder,
      quiet: true,
    })
    const page = await context.newPage()
    await page.goto(empty.url)
    await page.getByRole('alert').filter({ hasText: 'npm start' }).waitFor()
    assert.equal(await page.locator('#generate').isDisabled(), true)
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
    test(`${device} generates the same images as onnxruntime-node: ${sampler}, ${steps} steps`, async () => {
      const page = await open('/icon.svg')
      const sampling = { count: 16, seed: 1, ...options }
      const result = await sample(page, { device, options: sampling })
      assert.equal(result.device, device)
      assertSameImages(result.images, await reference(sampling))
      const others = await sample(page, { device: 'wasm', options: { ...sampling, seed: 2 } })
      const differing = others.images
        .flat()
        .filter((byte, i) => Math.abs(byte - result.images.flat()[i]!) > 8)
      assert.ok(differing.length > 16 * 64, `another seed changed only ${differing.length} bytes`)
      await page.close()
    })
  }

  test('without JavaScript Promise Integration, WebGPU runs in the asyncify build', async () => {
    const page = await open('/icon.svg', 'delete WebAssembly.Suspending')
    const sampling = { count: 1, seed: 7, steps: 2 }
    const result = await sample(page, { device: 'auto', options: sampling })
    assert.match(result.deviceReason, /^WebGPU: /)
    assert.ok(site.paths.includes('/worker-webgpu.js'))
    assertSameImages(result.images, await reference(sampling))
    await page.close()
  })

  test('if WebGPU fails to start, WebAssembly replaces it and the reason is reported', async () => {
    const page = await open('/icon.svg')
    // Some browsers support WebGPU in pages but not in workers.
    await page.route('**/worker-jspi.js', async (route) => {
      const response = await route.fetch()
      const body = `Object.defineProperty(navigator, 'gpu', { value: undefined });${await response.text()}`
      await route.fulfill({ response, body })
    })
    const sampling = { count: 2, seed: 7, steps: 4 }
    const result = await sample(page, { device: 'auto', options: sampling })
    assert.equal(result.device, 'wasm')
    assert.match(
      result.deviceReason,
      /^WebAssembly, \d threads?: WebGPU: .* could not run this model \(.+\)$/,
    )
    assertSameImages(result.images, await reference(sampling))
    await page.close()
  })

  test('a page of another origin without cross-origin isolation generates the same images', async () => {
    const other = createServer((_, response) =>
      response.setHeader('Content-Type', 'text/html').end('<!doctype html>'),
    )
    await new Promise<void>((resolve) => other.listen(0, 'localhost', resolve))
    const page = await context.newPage()
    await page.goto(`http://localhost:${(other.address() as AddressInfo).port}/`)
    assert.equal(await page.evaluate(() => crossOriginIsolated), false)
    const sampling = { count: 2, seed: 7, steps: 10 }
    const result = await sample(page, {
      device: 'wasm',
      options: sampling,
      name: `${site.url}/${manifest.name}`,
    })
    assert.match(result.deviceReason, /^WebAssembly, 1 thread:/)
    assertSameImages(result.images, await reference(sampling))
    await page.close()
    other.close()
  })

  test('a second load reads every file from the cache', async () => {
    const fresh = await browser.newContext({ serviceWorkers: 'block' })
    const page = await open('/icon.svg', '', fresh)
    const sampling = { count: 1, seed: 7, steps: 2 }
    const from = site.paths.length
    await sample(page, { device: 'wasm', options: sampling })
    const first = site.paths.slice(from).filter((path) => path.startsWith('/files/'))
    assert.ok(first.includes(`/files/${graphFile(manifest).sha256}`))
    const again = site.paths.length
    const { progress } = await sample(page, { device: 'wasm', options: sampling })
    assert.deepEqual(
      site.paths.slice(again).filter((path) => path.startsWith('/files/')),
      [],
    )
    assert.deepEqual(progress, ['prepare'])
    await fresh.close()
  })

  test('a file with a wrong hash is rejected and not cached', async () => {
    const sha256 = 'ab'.repeat(32)
    const { bytes } = graphFile(manifest)
    await bucket.storage.put(keys.file(sha256), 'x'.repeat(bytes), { mediaType: 'application/octet-stream' })
    const files = manifest.files.map((file) => (file.role === 'graph' ? { ...file, sha256 } : file))
    const damaged = formatManifest({ ...manifest, name: 'test/damaged', files })
    const { version } = await begin(bucket.storage, damaged)
    await commit(bucket.storage, 'test/damaged', version, [])
    const page = await open('/icon.svg')
    const failure = await sample(page, { name: 'test/damaged', device: 'wasm' }).catch(String)
    assert.match(
      String(failure),
      new RegExp(`Wrong contents .*: expected SHA-256 ${sha256}, got [0-9a-f]{64}`),
    )
    const cached = await page.evaluate(async () => {
      const cache = await caches.open('ddpm-files')
      return (await cache.keys()).map(({ url }) => url)
    })
    assert.ok(cached.every((url) => !url.includes(sha256)))
    await page.close()
  })

  test('an unknown model and an invalid address have clear errors', async () => {
    const page = await open('/icon.svg')
    assert.match(String(await sample(page, { name: 'test/nothing' }).catch(String)), /test\/nothing/)
    assert.match(String(await sample(page, { name: 'nothing' }).catch(String)), /expected owner\/name/)
    await page.close()
  })

  test('loading and sampling can be aborted, and the model stays usable', async () => {
    const page = await open('/icon.svg')
    const sampling = { count: 2, seed: 5, steps: 4 }
    const result = await page.evaluate(async (options) => {
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
      const loadingOutcome = await loading

      const model = await load('test/discs', { device: 'wasm' })
      const late = new AbortController()
      let steps = 0
      const onStep = () => ++steps === 3 && late.abort()
      const generation = model.sample({ count: 2, sampler: 'ddpm', steps: 1000, signal: late.signal, onStep })
      const samplingOutcome = await outcome(generation)
      const images = await model.sample(options)
      const stepsBeforeAbort = steps
      const waiting = outcome(model.sample({ steps: 1000, sampler: 'ddpm' }))
      model.dispose()
      const afterDispose = await waiting
      return {
        loadingOutcome,
        samplingOutcome,
        stepsBeforeAbort,
        afterDispose,
        images: images.map(({ pixels }) => [...pixels.data]),
      }
    }, sampling)
    assert.equal(result.loadingOutcome, 'AbortError')
    assert.equal(result.samplingOutcome, 'AbortError')
    assert.equal(result.stepsBeforeAbort, 3)
    assert.equal(result.afterDispose, 'SamplerError')
    assertSameImages(result.images, await reference(sampling))
    await page.close()
  })

  /** Opens a page of the site. Errors on the page fail the current test. */
  async function open(path: string, script = '', where = context): Promise<Page> {
    const page = await where.newPage()
    if (script) await page.addInitScript(script)
    page.on('pageerror', (error) => pageErrors.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy/.test(message.text()))
        pageErrors.push(message.text())
    })
    await page.goto(`${site.url}${path}`)
    return page
  }

  /** Loads a model with the public module and generates images. Returns RGBA bytes per image. */
  function sample(
    page: Page,
    request: { name?: string; device?: 'auto' | 'webgpu' | 'wasm'; options?: SampleOptions },
  ): Promise<{ device: string; deviceReason: string; progress: string[]; images: number[][] }> {
    const { name = 'test/discs', device = 'auto', options = { seed: 1 } } = request
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

  const reference = (options: ReferenceOptions) => generateReference(manifest, network, options)
})
