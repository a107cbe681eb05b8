import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { generate, graphFile, type Network, predict } from '@ddpm/shared'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import type * as Module from '../../edge/sampler/browser.ts'
import { maxRunsOf } from '../../edge/sampler/model/recycling.ts'
import { launch, launchWithProfile, presentAsGpu } from '../support/browser.ts'
import { findFirefox, openInFirefox } from '../support/firefox.ts'
import {
  assertSameImages,
  generateReference,
  nodeNetwork,
  type ReferenceOptions,
  toRgbaImages,
} from '../support/images.ts'
import { type Site, startSite } from '../support/site.ts'

/** Tests the sampler module in Chromium, served by workerd, with a proxy that injects network faults. */
describe('sampler module', { timeout: 900_000 }, () => {
  let site: Site
  let network: Network
  let browser: Browser
  let graph: string

  before(async () => {
    site = await startSite({ size: 16, numResBlocks: 1, attention: [false, false] })
    network = await nodeNetwork(site.exported, site.manifest)
    browser = await launch({ webgpu: false })
    graph = `/files/${graphFile(site.manifest).sha256}`
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })

  const sampling = { count: 2, seed: 3, steps: 4 }

  test('an interrupted download resumes where it stopped, and the images are correct', async () => {
    const { page, context } = await visit()
    const half = Math.floor(graphFile(site.manifest).bytes / 2)
    site.proxy.trouble = { path: graph, cuts: [half] }
    const from = site.proxy.requests.length
    const { images, progress } = await sample(page, sampling)
    site.proxy.trouble = null
    const [first, second, ...more] = site.proxy.requests.slice(from).filter(({ path }) => path === graph)
    assert.equal(first!.range, undefined)
    assert.match(second!.range!, /^bytes=\d+-$/)
    const start = Number(/\d+/.exec(second!.range!)![0])
    assert.ok(start > 0 && start <= half, `resumed at ${start} of ${half}`)
    assert.equal(second!.ifRange, `"${graph.slice(-64)}"`)
    assert.equal(second!.status, 206)
    assert.deepEqual(more, [])
    const last = progress.findLast(({ stage }) => stage === 'download')
    assert.equal(last!.loaded, last!.total)
    assertSameImages(images, await reference(sampling))
    await context.close()
  })

  test('a download starts over if the server ignores the range request', async () => {
    const { page, context } = await visit()
    site.proxy.trouble = { path: graph, cuts: [50_000], hideRange: true }
    const from = site.proxy.requests.length
    const { images } = await sample(page, sampling)
    site.proxy.trouble = null
    const tries = site.proxy.requests.slice(from).filter(({ path }) => path === graph)
    assert.deepEqual(
      tries.map(({ status }) => status),
      [200, 200],
    )
    assert.ok(tries[1]!.range)
    assertSameImages(images, await reference(sampling))
    await context.close()
  })

  test('a failed download is reported, and the next visit resumes it', async () => {
    const { page, context } = await visit()
    // More faults than attempts: browsers also retry if a connection ends before the response starts.
    site.proxy.trouble = { path: graph, cuts: [100_000, ...Array<number>(20).fill(0)] }
    const { code, message } = await outcome(page)
    assert.equal(code, 'offline')
    const { bytes } = graphFile(site.manifest)
    assert.match(message, new RegExp(`stopped after \\d+ of ${bytes} bytes: the last 5 attempts`))
    site.proxy.trouble = null
    await page.close()
    const from = site.proxy.requests.length
    const second = await open(context)
    const { images } = await sample(second, sampling)
    const tries = site.proxy.requests.slice(from).filter(({ path }) => path === graph)
    assert.equal(tries.length, 1)
    assert.match(tries[0]!.range!, /^bytes=[1-9]\d*-$/)
    assert.equal(tries[0]!.status, 206)
    assertSameImages(images, await reference(sampling))
    await context.close()
  })

  test('damaged files in the cache and damaged partial downloads are deleted and downloaded again', async () => {
    const { page, context } = await visit()
    await sample(page, sampling)
    await page.evaluate(async (path) => {
      const cache = await caches.open('ddpm-files')
      const url = new URL(path, location.href).href
      const bytes = new Uint8Array(await (await cache.match(url))!.arrayBuffer())
      bytes[1000]! ^= 1
      await cache.put(url, new Response(bytes))
    }, graph)
    let from = site.proxy.paths.length
    assertSameImages((await sample(page, sampling)).images, await reference(sampling))
    const requested = () =>
      site.proxy.paths.slice(from).filter((path) => path.startsWith('/files/') && !path.endsWith('.mjs'))
    assert.deepEqual(requested(), [graph])

    await page.evaluate(async (path) => {
      await caches.delete('ddpm-files')
      const root = await navigator.storage.getDirectory()
      const parts = await root.getDirectoryHandle('ddpm-parts', { create: true })
      const file = await (await parts.getFileHandle(path.slice(-64), { create: true })).createWritable()
      await file.write(new Uint8Array(5000))
      await file.close()
    }, graph)
    from = site.proxy.requests.length
    assertSameImages((await sample(page, sampling)).images, await reference(sampling))
    const ranges = site.proxy.requests.slice(from).filter(({ path }) => path === graph)
    assert.deepEqual(
      ranges.map(({ range }) => range),
      ['bytes=5000-', undefined],
    )
    await context.close()
  })

  test('a later visit uses compiled code from the HTTP cache, or else the cached bytes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ddpm-profile-'))
    // With the default size on a nearly full disk, the HTTP cache would not store files this large.
    const context = await launchWithProfile(folder, { webgpu: false, args: ['--disk-cache-size=1000000000'] })
    try {
      const page = await open(context)
      await sample(page, sampling)
      // The cached bytes are damaged. If the page read them, it would download the file again.
      const wasm = await page.evaluate(async (graph) => {
        const cache = await caches.open('ddpm-files')
        const { url } = (await cache.keys()).find(({ url }) => !url.endsWith(graph))!
        await cache.put(url, new Response('damaged'))
        return new URL(url).pathname
      }, graph)
      const visit = async () => {
        const from = site.proxy.paths.length
        const second = await open(context)
        assertSameImages((await sample(second, sampling)).images, await reference(sampling))
        return site.proxy.paths.slice(from).filter((path) => path === graph || path === wasm)
      }
      assert.deepEqual(await visit(), [])
      await (await context.newCDPSession(page)).send('Network.clearBrowserCache')
      // The download resumes, whether or not the HTTP cache has stored the first part.
      site.proxy.trouble = { path: wasm, cuts: [2_000_000] }
      assert.deepEqual(await visit(), [wasm, wasm])
      site.proxy.trouble = null
      assert.deepEqual(await visit(), [])
      // The HTTP cache may have wrong bytes, too.
      await page.evaluate(() => caches.delete('ddpm-files'))
      site.proxy.trouble = { path: wasm, cuts: [], damages: 1 }
      assert.deepEqual((await visit()).toSorted(), [graph, wasm, wasm].toSorted())
      site.proxy.trouble = null
    } finally {
      await context.close()
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    }
  })

  test('two tabs that load at the same time download each file once', async () => {
    const { page, context } = await visit()
    const other = await open(context)
    const from = site.proxy.paths.length
    const both = await Promise.all([sample(page, sampling), sample(other, sampling)])
    const files = site.proxy.paths.slice(from).filter((path) => path.startsWith('/files/'))
    assert.deepEqual(files.toSorted(), [...new Set(files)].toSorted())
    assert.ok(files.includes(graph))
    for (const { images } of both) assertSameImages(images, await reference(sampling))
    await context.close()
  })

  test('cacheInfo lists cached files, purge deletes them, and cache: false stores nothing', async () => {
    const { page, context } = await visit()
    const result = await page.evaluate(async (name) => {
      const path = '/sampler.js'
      const { load, cacheInfo, purge } = (await import(path)) as typeof Module
      const count = async () => (await cacheInfo()).files.length
      ;(await load(name, { device: 'wasm', cache: false })).dispose()
      const none = await count()
      ;(await load(name, { device: 'wasm' })).dispose()
      const info = await cacheInfo()
      await purge(name)
      const one = await count()
      await purge()
      return { none, info, one, zero: await count() }
    }, site.manifest.name)
    const { sha256, bytes } = graphFile(site.manifest)
    assert.deepEqual([result.none, result.one, result.zero], [0, 1, 0])
    assert.ok(result.info.files.some((file) => file.sha256 === sha256 && file.bytes === bytes))
    assert.equal(
      result.info.bytes,
      result.info.files.reduce((sum, file) => sum + file.bytes, 0),
    )
    assert.ok(result.info.quota! > 1e6)
    await context.close()
  })

  test('load uses a manifest that the caller has fetched', async () => {
    const { page, context } = await visit()
    const from = site.proxy.paths.length
    const images = await page.evaluate(
      async ({ name, options }) => {
        const path = '/sampler.js'
        const { load, loadManifest } = (await import(path)) as typeof Module
        const manifest = await loadManifest(name)
        const model = await load(name, { device: 'wasm', manifest })
        const images = await model.sample(options)
        model.dispose()
        return images.map(({ pixels }) => [...pixels.data])
      },
      { name: site.manifest.name, options: sampling },
    )
    const requests = site.proxy.paths.slice(from).filter((path) => path.startsWith('/api/'))
    assert.deepEqual(requests, [`/api/models/${site.manifest.name}`])
    assertSameImages(images, await reference(sampling))
    await context.close()
  })

  test('without storage room, sampling works and reports it; with cache: true, loading fails', async () => {
    const { page, context } = await visit()
    const session = await context.newCDPSession(page)
    await session.send('Storage.overrideQuotaForOrigin', { origin: site.proxy.url, quotaSize: 1_000_000 })
    const { images, progress } = await sample(page, sampling)
    // Files that fit are cached, even if another download used the room in the meantime.
    const reasons = progress.filter(({ stage }) => stage === 'fallback').map(({ reason }) => reason!)
    assert.equal(reasons.length, 1, reasons.join('\n'))
    assert.match(reasons[0]!, /no room to cache .*14\.2 MB/)
    assertSameImages(images, await reference(sampling))
    assert.equal((await outcome(page, { cache: true })).code, 'quota-exceeded')
    await context.close()
  })

  test('if memory is insufficient, batches become smaller and the images stay the same', async () => {
    const { page, context } = await visit()
    // Limits the memory to a little more than onnxruntime needs at the start.
    await page.route('**/worker-wasm.js', async (route) => {
      const response = await route.fetch()
      const limit = `{
        const Memory = WebAssembly.Memory
        WebAssembly.Memory = class extends Memory {
          constructor(options) { super({ ...options, maximum: options.initial && options.initial + 200 }) }
        }
      }`
      await route.fulfill({ response, body: `${limit};${await response.text()}` })
    })
    const many = { count: 256, seed: 3, steps: 2 }
    const { images, progress } = await sample(page, many)
    const reasons = progress.filter(({ stage }) => stage === 'fallback').map(({ reason }) => reason!)
    assert.ok(reasons.length > 0, 'memory was sufficient')
    assert.match(reasons[0]!, /for 256 images at once\. Continuing with batches of 128\./)
    assertSameImages(images, await reference(many))
    await context.close()
  })

  test('if the GPU is lost during sampling, WebAssembly replaces it and the images are the same', async () => {
    const gpu = await launch()
    const context = await gpu.newContext({ serviceWorkers: 'block' })
    await presentAsGpu(context)
    const page = await open(context)
    // Destroys the device after the first step.
    await page.route('**/worker-jspi.js', async (route) => {
      const response = await route.fetch()
      const loss = `{
        let device
        const request = GPUAdapter.prototype.requestDevice
        GPUAdapter.prototype.requestDevice = async function (...args) {
          device = await request.apply(this, args)
          return device
        }
        const post = self.postMessage.bind(self)
        self.postMessage = (data, ...rest) => {
          post(data, ...rest)
          if (data.type === 'steps') device.destroy()
        }
      }`
      await route.fulfill({ response, body: `${loss};${await response.text()}` })
    })
    const result = await page.evaluate(
      async ({ name, options }) => {
        const path = '/sampler.js'
        const { load } = (await import(path)) as typeof Module
        const reasons: string[] = []
        const onProgress = (progress: Module.LoadProgress) => {
          if (progress.stage === 'fallback') reasons.push(progress.reason)
        }
        const model = await load(name, { onProgress })
        const before = model.device
        // With a preview in every step, steps are reported one by one.
        const images = await model.sample({ ...options, previewEvery: 1, onStep() {} })
        const bytes = images.map(({ pixels }) => [...pixels.data])
        return { before, after: model.device, why: model.deviceReason, reasons, images: bytes }
      },
      { name: site.manifest.name, options: sampling },
    )
    assert.deepEqual([result.before, result.after], ['webgpu', 'wasm'])
    assert.match(result.reasons.join(), /GPU was lost.*Continuing with WebAssembly/)
    assert.match(result.why, /^WebAssembly, .*GPU was lost/)
    assertSameImages(result.images, await reference(sampling))
    await gpu.close()
  })

  const multistep = { seed: 5, steps: 5, sampler: 'unipc', order: 3 } as const
  for (const { device, limit, tasks, workers } of [
    {
      device: 'wasm',
      limit: 3,
      tasks: [
        { ...multistep, count: 2 },
        { seed: 6, count: 1, steps: 5, sampler: 'ddpm' },
      ],
      workers: 4,
    },
    // Each worker compiles its shaders anew, which takes long in software.
    { device: 'webgpu', limit: 4, tasks: [{ ...multistep, count: 1 }], workers: 2 },
  ] as const) {
    test(`a worker with a limit of ${limit} passes on ${device} is replaced, and the images are the same`, async () => {
      const gpu = await launch()
      const page = await open(await gpu.newContext({ serviceWorkers: 'block' }))
      const result = await page.evaluate(
        async ({ name, device, limit, tasks }) => {
          let workers = 0
          const post = Worker.prototype.postMessage
          Worker.prototype.postMessage = function (data, ...rest: []) {
            if (data.type === 'load') {
              workers++
              data.maxRuns = limit
            }
            post.call(this, data, ...rest)
          }
          const path = '/sampler.js'
          const { load, startNoise } = (await import(path)) as typeof Module
          const model = await load(name, { device })
          const x = startNoise(model.manifest, 5, 0)
          const [prediction, ...samples] = await Promise.all([
            model.predict({ x, t: 400, class: 'warm' }),
            ...tasks.map((task) => model.sample(task)),
          ])
          const images = samples.map((images) => images.map(({ pixels }) => [...pixels.data]))
          return { workers, images, x: [...x], x0: [...prediction.x0] }
        },
        { name: site.manifest.name, device, limit, tasks },
      )
      assert.ok(result.workers >= workers, `${result.workers} workers`)
      for (const [i, images] of result.images.entries()) assertSameImages(images, await reference(tasks[i]!))
      const expected = await predict(site.manifest, network, {
        x: Float32Array.from(result.x),
        t: 400,
        className: 'warm',
      })
      assertClose(result.x0, expected.x0)
      await gpu.close()
    })
  }

  test('on iOS, workers have a limit of passes', () => {
    const limit = (userAgent: string, maxTouchPoints: number) =>
      maxRunsOf({ userAgent, maxTouchPoints } as Navigator)
    const version = 'AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.3 Safari/604.1'
    assert.equal(limit(`Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) ${version}`, 5), 400)
    assert.equal(limit(`Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${version}`, 5), 400)
    assert.equal(limit(`Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) ${version}`, 0), null)
  })

  test('an adapter that renders in software is used only if it is requested', async () => {
    const gpu = await launch()
    const page = await open(await gpu.newContext({ serviceWorkers: 'block' }))
    const result = await page.evaluate(async (name) => {
      const path = '/sampler.js'
      const { load, detect } = (await import(path)) as typeof Module
      const { device, deviceReason, webgpu } = await detect()
      const byDefault = await load(name)
      const requested = await load(name, { device: 'webgpu' })
      const devices = [device, byDefault.device, requested.device]
      for (const model of [byDefault, requested]) model.dispose()
      return { devices, deviceReason, webgpu }
    }, site.manifest.name)
    assert.deepEqual(result.devices, ['wasm', 'wasm', 'webgpu'])
    assert.match(result.deviceReason, /^WebAssembly, .*this browser runs WebGPU in software/)
    assert.equal(result.webgpu, true)
    await gpu.close()
  })

  const firefox = findFirefox()
  test('Firefox generates the same images', {
    skip: firefox === null && 'no Firefox on the PATH',
  }, async () => {
    const page = await openInFirefox(firefox!, `${site.proxy.url}/icon.svg`)
    try {
      const result = await page.evaluate(
        async ({ name, options }) => {
          const path = '/sampler.js'
          const { load, detect } = (await import(path)) as typeof Module
          const model = await load(name, { device: 'wasm' })
          const images = await model.sample(options)
          const bytes = images.map(({ pixels }) => [...pixels.data])
          return { threads: (await detect()).threads, reason: model.deviceReason, images: bytes }
        },
        { name: site.manifest.name, options: sampling },
      )
      assert.match(result.reason, new RegExp(`^WebAssembly, ${result.threads} thread`))
      assertSameImages(result.images, await reference(sampling))
    } finally {
      await page.close()
    }
  })

  test('errors have codes and complete messages', async () => {
    const { page, context } = await visit()
    const codes = await Promise.all([
      outcome(page, { device: 'webgpu' }),
      outcome(page, { name: 'test/nothing' }),
      outcome(page, { name: 'http://localhost:9/test/discs' }),
      outcome(page, { options: { steps: 5000 } }),
      outcome(page, { options: { class: 'cold' } }),
      outcome(page, { options: { previewEvery: -1 } }),
    ])
    assert.deepEqual(
      codes.map(({ code }) => code),
      ['no-webgpu', 'not-found', 'offline', 'bad-option', 'bad-option', 'bad-option'],
    )
    for (const { name, message } of codes) {
      assert.equal(name, 'SamplerError')
      assert.match(message, /[.?]$/)
    }
    await context.close()
  })

  test('previews are x_t and the predicted x̂₀ of their step; predict and plan give the same results as in Node', async () => {
    const { page, context } = await visit()
    const options = { count: 2, seed: 5, steps: 6, sampler: 'ddim', class: 'warm' } as const
    const expected: { x: number[][]; x0: number[][] }[] = []
    const { class: className, ...others } = options
    const rgba = (values: Float32Array) => toRgbaImages(values, site.manifest)
    await generate(site.manifest, network, {
      ...others,
      className,
      onStep: ({ x, x0 }) => void expected.push({ x: rgba(x), x0: rgba(x0) }),
    })
    const result = await page.evaluate(
      async ({ name, options }) => {
        const path = '/sampler.js'
        const { load, startNoise, slerp } = (await import(path)) as typeof Module
        const model = await load(name, { device: 'wasm' })
        const steps: { step: number; left: number | null; x: number[][] | null; x0: number[][] | null }[] = []
        const bytes = (images: ImageData[] | null) => images?.map(({ data }) => [...data]) ?? null
        await model.sample({
          ...options,
          previewEvery: 2,
          onStep: ({ step, secondsLeft, x, x0 }) =>
            steps.push({ step, left: secondsLeft, x: bytes(x), x0: bytes(x0) }),
        })
        const a = startNoise(model.manifest, 5, 0)
        const x = slerp(a, startNoise(model.manifest, 6, 0), 0.25)
        const { x0, epsilon } = await model.predict({ x, t: 400, class: 'warm' })
        const fromNoise = await model.sample({ ...options, count: 1, noise: a })
        const fromSeed = await model.sample({ ...options, count: 1 })
        const same = fromNoise[0]!.values.every((value, i) => value === fromSeed[0]!.values[i])
        return { steps, x: [...x], x0: [...x0], epsilon: [...epsilon], same, rows: model.plan(options).rows }
      },
      { name: site.manifest.name, options },
    )
    assert.deepEqual(
      result.steps.map(({ x }) => x !== null),
      [false, true, false, true, false, true],
    )
    for (const { step, x, x0 } of result.steps) {
      if (!x) continue
      assertSameImages(x, expected[step]!.x)
      assertSameImages(x0!, expected[step]!.x0)
    }
    assert.ok(result.steps[3]!.left! > 0)
    assert.equal(result.steps[5]!.left, 0)
    assert.ok(result.same, 'startNoise returns the noise that a seed starts from')
    assert.equal(result.rows.length, 6)
    const expectedPrediction = await predict(site.manifest, network, {
      x: Float32Array.from(result.x),
      t: 400,
      className: 'warm',
    })
    assertClose(result.x0, expectedPrediction.x0)
    assertClose(result.epsilon, expectedPrediction.epsilon)
    await context.close()
  })

  test('init and mask images give the same result as their values in Node', async () => {
    const { page, context } = await visit()
    const { height, width, channels } = site.manifest.shape
    const plane = height * width
    const options = { seed: 8, count: 2, steps: 6, strength: 0.8 }
    // A red image. Its left half is generated.
    const image = Float32Array.from({ length: channels * plane }, (_, i) => (i < plane ? 1 : -1))
    const mask = Float32Array.from({ length: channels * plane }, (_, i) => (i % width < width / 2 ? 1 : 0))
    const twice = (values: Float32Array) => Float32Array.from([...values, ...values])
    const expected = await generate(site.manifest, network, {
      ...options,
      init: twice(image),
      mask: twice(mask),
    })
    const result = await page.evaluate(
      async ({ name, options, width, height }) => {
        const path = '/sampler.js'
        const { load } = (await import(path)) as typeof Module
        const paint = (half: number, colour: string) => {
          const context = new OffscreenCanvas(width, height).getContext('2d')!
          context.fillStyle = colour
          context.fillRect(0, 0, width * half, height)
          return context.getImageData(0, 0, width, height)
        }
        const model = await load(name, { device: 'wasm' })
        const images = { init: paint(1, 'red'), mask: paint(0.5, 'white') }
        const samples = await model.sample({ ...options, ...images })
        const wrong = model.sample({ ...options, init: new ImageData(3, 3) })
        return {
          images: samples.map(({ pixels }) => [...pixels.data]),
          wrong: await wrong.catch((error: Error) => error.message),
        }
      },
      { name: site.manifest.name, options, width, height },
    )
    assertSameImages(result.images, toRgbaImages(expected, site.manifest))
    const right = result.images[0]!.slice((width - 1) * 4, width * 4)
    assert.deepEqual(right, [255, 0, 0, 255], 'the mask preserves the right half')
    assert.match(String(result.wrong), /expected 16 × 16 pixels, got 3 × 3/)
    await context.close()
  })

  async function visit(): Promise<{ page: Page; context: BrowserContext }> {
    const context = await browser.newContext({ serviceWorkers: 'block' })
    return { page: await open(context), context }
  }

  async function open(context: BrowserContext): Promise<Page> {
    const page = await context.newPage()
    page.setDefaultTimeout(180_000)
    await page.goto(`${site.proxy.url}/icon.svg`)
    return page
  }

  interface LoadRequest {
    readonly name?: string
    readonly device?: 'wasm' | 'webgpu' | 'auto'
    readonly cache?: boolean
    readonly options?: Module.SampleOptions
  }

  function sample(
    page: Page,
    options: Module.SampleOptions,
  ): Promise<{ images: number[][]; progress: Progress[] }> {
    return page.evaluate(
      async ({ name, options }) => {
        const path = '/sampler.js'
        const { load } = (await import(path)) as typeof Module
        const progress: Module.LoadProgress[] = []
        const model = await load(name, { device: 'wasm', onProgress: (event) => progress.push(event) })
        const images = await model.sample(options)
        model.dispose()
        return { images: images.map(({ pixels }) => [...pixels.data]), progress }
      },
      { name: site.manifest.name, options },
    )
  }

  /** Loads a model and generates images. Returns the error. */
  function outcome(
    page: Page,
    request: LoadRequest = {},
  ): Promise<{ name: string; code: string; message: string }> {
    return page.evaluate(
      async ({ name, device, options, ...rest }) => {
        const path = '/sampler.js'
        const { load } = (await import(path)) as typeof Module
        try {
          const model = await load(name, { device, ...rest })
          await model.sample(options).finally(() => model.dispose())
          return { name: 'none', code: 'none', message: '' }
        } catch (error) {
          const { name, code, message } = error as Module.SamplerError
          return { name, code, message }
        }
      },
      { name: site.manifest.name, device: 'wasm' as const, options: {}, ...request },
    )
  }

  const reference = (options: ReferenceOptions) => generateReference(site.manifest, network, options)
})

/** LoadProgress as JSON from the page. */
interface Progress {
  readonly stage: string
  readonly loaded?: number
  readonly total?: number
  readonly reason?: string
}

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  assert.equal(actual.length, expected.length)
  for (let i = 0; i < actual.length; i++) {
    assert.ok(Math.abs(actual[i]! - expected[i]!) < 1e-3, `expected ${expected[i]} at ${i}, got ${actual[i]}`)
  }
}
