import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type GenerateOptions, generate, graphFile, type Network, predict, toRgba } from '@ddpm/shared'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import type * as Module from '../../edge/sampler/browser.ts'
import { launch, launchWithProfile } from '../support/browser.ts'
import { findFirefox, openInFirefox } from '../support/firefox.ts'
import { assertSameImages, nodeNetwork } from '../support/images.ts'
import { type Site, startSite } from '../support/site.ts'

/** What the sampler module promises, in a real Chromium against a real workerd, with a proxy that gets in the way. */
describe('the sampler module', { timeout: 900_000 }, () => {
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

  const asked = { count: 2, seed: 3, steps: 4 }

  test('a download that is cut goes on where it was, and the picture is right', async () => {
    const { page, context } = await visit()
    const half = Math.floor(graphFile(site.manifest).bytes / 2)
    site.proxy.trouble = { path: graph, cuts: [half] }
    const from = site.proxy.asked.length
    const { images, progress } = await draw(page, asked)
    site.proxy.trouble = null
    const [first, second, ...more] = site.proxy.asked.slice(from).filter(({ path }) => path === graph)
    assert.equal(first!.range, undefined)
    assert.match(second!.range!, /^bytes=\d+-$/)
    const start = Number(/\d+/.exec(second!.range!)![0])
    assert.ok(start > 0 && start <= half, `went on at ${start} of ${half}`)
    assert.equal(second!.ifRange, `"${graph.slice(-64)}"`)
    assert.equal(second!.status, 206)
    assert.deepEqual(more, [])
    const last = progress.findLast(({ stage }) => stage === 'download')
    assert.equal(last!.loaded, last!.total)
    assertSameImages(images, await reference(asked))
    await context.close()
  })

  test('where the server answers a range with everything, it starts over', async () => {
    const { page, context } = await visit()
    site.proxy.trouble = { path: graph, cuts: [50_000], hideRange: true }
    const from = site.proxy.asked.length
    const { images } = await draw(page, asked)
    site.proxy.trouble = null
    const tries = site.proxy.asked.slice(from).filter(({ path }) => path === graph)
    assert.deepEqual(
      tries.map(({ status }) => status),
      [200, 200],
    )
    assert.ok(tries[1]!.range)
    assertSameImages(images, await reference(asked))
    await context.close()
  })

  test('a download that does not go on is told, and the next visit takes up what had arrived', async () => {
    const { page, context } = await visit()
    // More than its attempts: browsers, too, ask again where a connection ends before the answer begins.
    site.proxy.trouble = { path: graph, cuts: [100_000, ...Array<number>(20).fill(0)] }
    const { code, message } = await outcome(page)
    assert.equal(code, 'offline')
    const { bytes } = graphFile(site.manifest)
    assert.match(message, new RegExp(`broke off after \\d+ of ${bytes} bytes, and 5 attempts`))
    site.proxy.trouble = null
    await page.close()
    const from = site.proxy.asked.length
    const second = await open(context)
    const { images } = await draw(second, asked)
    const tries = site.proxy.asked.slice(from).filter(({ path }) => path === graph)
    assert.equal(tries.length, 1)
    assert.match(tries[0]!.range!, /^bytes=[1-9]\d*-$/)
    assert.equal(tries[0]!.status, 206)
    assertSameImages(images, await reference(asked))
    await context.close()
  })

  test('what is damaged in the cache or among half downloads is thrown away and downloaded again', async () => {
    const { page, context } = await visit()
    await draw(page, asked)
    await page.evaluate(async (path) => {
      const cache = await caches.open('ddpm-files')
      const url = new URL(path, location.href).href
      const bytes = new Uint8Array(await (await cache.match(url))!.arrayBuffer())
      bytes[1000]! ^= 1
      await cache.put(url, new Response(bytes))
    }, graph)
    let from = site.proxy.paths.length
    assertSameImages((await draw(page, asked)).images, await reference(asked))
    const again = () =>
      site.proxy.paths.slice(from).filter((path) => path.startsWith('/files/') && !path.endsWith('.mjs'))
    assert.deepEqual(again(), [graph])

    await page.evaluate(async (path) => {
      await caches.delete('ddpm-files')
      const root = await navigator.storage.getDirectory()
      const parts = await root.getDirectoryHandle('ddpm-parts', { create: true })
      const file = await (await parts.getFileHandle(path.slice(-64), { create: true })).createWritable()
      await file.write(new Uint8Array(5000))
      await file.close()
    }, graph)
    from = site.proxy.asked.length
    assertSameImages((await draw(page, asked)).images, await reference(asked))
    const ranges = site.proxy.asked.slice(from).filter(({ path }) => path === graph)
    assert.deepEqual(
      ranges.map(({ range }) => range),
      ['bytes=5000-', undefined],
    )
    await context.close()
  })

  test('a later visit starts from what the browser compiled, and from the kept bytes where it has lost that', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ddpm-profile-'))
    // On a disk with little room left the browser's own cache would take no file of this size.
    const context = await launchWithProfile(folder, { webgpu: false, args: ['--disk-cache-size=1000000000'] })
    try {
      const page = await open(context)
      await draw(page, asked)
      // Kept bytes that would be found out as soon as they were read.
      const wasm = await page.evaluate(async (graph) => {
        const cache = await caches.open('ddpm-files')
        const { url } = (await cache.keys()).find(({ url }) => !url.endsWith(graph))!
        await cache.put(url, new Response('damaged'))
        return new URL(url).pathname
      }, graph)
      const visit = async () => {
        const from = site.proxy.paths.length
        const second = await open(context)
        assertSameImages((await draw(second, asked)).images, await reference(asked))
        return site.proxy.paths.slice(from).filter((path) => path === graph || path === wasm)
      }
      assert.deepEqual(await visit(), [])
      await (await context.newCDPSession(page)).send('Network.clearBrowserCache')
      // It goes on where it was cut, whatever that cache made of the first half.
      site.proxy.trouble = { path: wasm, cuts: [2_000_000] }
      assert.deepEqual(await visit(), [wasm, wasm])
      site.proxy.trouble = null
      assert.deepEqual(await visit(), [])
      // What that cache has may be wrong, too.
      await page.evaluate(() => caches.delete('ddpm-files'))
      site.proxy.trouble = { path: wasm, cuts: [], damages: 1 }
      assert.deepEqual((await visit()).toSorted(), [graph, wasm, wasm].toSorted())
      site.proxy.trouble = null
    } finally {
      await context.close()
      await rm(folder, { recursive: true, force: true, maxRetries: 5 })
    }
  })

  test('two tabs that start at once download each file once', async () => {
    const { page, context } = await visit()
    const other = await open(context)
    const from = site.proxy.paths.length
    const both = await Promise.all([draw(page, asked), draw(other, asked)])
    const files = site.proxy.paths.slice(from).filter((path) => path.startsWith('/files/'))
    assert.deepEqual(files.toSorted(), [...new Set(files)].toSorted())
    assert.ok(files.includes(graph))
    for (const { images } of both) assertSameImages(images, await reference(asked))
    await context.close()
  })

  test('what is kept can be seen and thrown away; nothing is kept where the caller does not want it', async () => {
    const { page, context } = await visit()
    const found = await page.evaluate(async (name) => {
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
    assert.deepEqual([found.none, found.one, found.zero], [0, 1, 0])
    assert.ok(found.info.files.some((file) => file.sha256 === sha256 && file.bytes === bytes))
    assert.equal(
      found.info.bytes,
      found.info.files.reduce((sum, file) => sum + file.bytes, 0),
    )
    assert.ok(found.info.quota! > 1e6)
    await context.close()
  })

  test('without room it draws and says so, or fails where the files must be kept', async () => {
    const { page, context } = await visit()
    const session = await context.newCDPSession(page)
    await session.send('Storage.overrideQuotaForOrigin', { origin: site.proxy.url, quotaSize: 1_000_000 })
    const { images, progress } = await draw(page, asked)
    // What fits is kept, whatever the other took while it came.
    const reasons = progress.filter(({ stage }) => stage === 'fallback').map(({ reason }) => reason!)
    assert.equal(reasons.length, 1, reasons.join('\n'))
    assert.match(reasons[0]!, /no room to keep .*14\.2 MB/)
    assertSameImages(images, await reference(asked))
    assert.equal((await outcome(page, { cache: true })).code, 'quota-exceeded')
    await context.close()
  })

  test('where memory does not suffice, fewer pictures go at a time and come out the same', async () => {
    const { page, context } = await visit()
    // Some room beside what onnxruntime starts with, and no more.
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
    const { images, progress } = await draw(page, many)
    const reasons = progress.filter(({ stage }) => stage === 'fallback').map(({ reason }) => reason!)
    assert.ok(reasons.length > 0, 'memory sufficed')
    assert.match(reasons[0]!, /for 256 pictures: the network is given 128 at a time/)
    assertSameImages(images, await reference(many))
    await context.close()
  })

  test('a graphics card that is lost while drawing hands over to WebAssembly, and the pictures are the same', async () => {
    const gpu = await launch()
    const context = await gpu.newContext({ serviceWorkers: 'block' })
    const page = await open(context)
    // The device goes after the first step.
    await page.route('**/worker-jspi.js', async (route) => {
      const response = await route.fetch()
      const loss = `{
        let device
        const request = GPUAdapter.prototype.requestDevice
        GPUAdapter.prototype.requestDevice = async function (...given) {
          device = await request.apply(this, given)
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
    const found = await page.evaluate(
      async ({ name, options }) => {
        const path = '/sampler.js'
        const { load } = (await import(path)) as typeof Module
        const reasons: string[] = []
        const onProgress = (told: Module.LoadProgress) => {
          if (told.stage === 'fallback') reasons.push(told.reason)
        }
        const model = await load(name, { onProgress })
        const before = model.device
        // With a preview in every step, steps are told one by one.
        const images = await model.sample({ ...options, previewEvery: 1, onStep() {} })
        const bytes = images.map(({ pixels }) => [...pixels.data])
        return { before, after: model.device, why: model.deviceReason, reasons, images: bytes }
      },
      { name: site.manifest.name, options: asked },
    )
    assert.deepEqual([found.before, found.after], ['webgpu', 'wasm'])
    assert.match(found.reasons.join(), /graphics card was taken away.*WebAssembly takes over/)
    assert.match(found.why, /^WebAssembly, .*taken away/)
    assertSameImages(found.images, await reference(asked))
    await gpu.close()
  })

  const firefox = findFirefox()
  test('Firefox draws the same pictures', {
    skip: firefox === null && 'no Firefox on the PATH',
  }, async () => {
    const page = await openInFirefox(firefox!, `${site.proxy.url}/icon.svg`)
    try {
      const found = await page.evaluate(
        async ({ name, options }) => {
          const path = '/sampler.js'
          const { load, detect } = (await import(path)) as typeof Module
          const model = await load(name, { device: 'wasm' })
          const images = await model.sample(options)
          const bytes = images.map(({ pixels }) => [...pixels.data])
          return { threads: (await detect()).threads, reason: model.deviceReason, images: bytes }
        },
        { name: site.manifest.name, options: asked },
      )
      assert.match(found.reason, new RegExp(`^WebAssembly, ${found.threads} thread`))
      assertSameImages(found.images, await reference(asked))
    } finally {
      await page.close()
    }
  })

  test('errors have codes and say what to do', async () => {
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

  test('previews are x_t and the x_0 predicted in the step; predict and plan agree with Node', async () => {
    const { page, context } = await visit()
    const options = { count: 2, seed: 5, steps: 6, sampler: 'ddim', class: 'warm' } as const
    const expected: { x: number[][]; x0: number[][] }[] = []
    const { class: className, ...others } = options
    const rgba = (values: Float32Array) => [0, 1].map((i) => [...toRgba(values, i, site.manifest.shape)])
    await generate(site.manifest, network, {
      ...others,
      className,
      onStep: ({ x, x0 }) => void expected.push({ x: rgba(x), x0: rgba(x0) }),
    })
    const found = await page.evaluate(
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
        const drawn = await model.sample({ ...options, count: 1, noise: a })
        const same = await model.sample({ ...options, count: 1 })
        const start = drawn[0]!.values.every((value, i) => value === same[0]!.values[i])
        return { steps, x: [...x], x0: [...x0], epsilon: [...epsilon], start, rows: model.plan(options).rows }
      },
      { name: site.manifest.name, options },
    )
    assert.deepEqual(
      found.steps.map(({ x }) => x !== null),
      [false, true, false, true, false, true],
    )
    for (const { step, x, x0 } of found.steps) {
      if (!x) continue
      assertSameImages(x, expected[step]!.x)
      assertSameImages(x0!, expected[step]!.x0)
    }
    assert.ok(found.steps[3]!.left! > 0)
    assert.equal(found.steps[5]!.left, 0)
    assert.ok(found.start, 'startNoise is what the seed starts from')
    assert.equal(found.rows.length, 6)
    const told = await predict(site.manifest, network, {
      x: Float32Array.from(found.x),
      t: 400,
      className: 'warm',
    })
    assertClose(found.x0, told.x0)
    assertClose(found.epsilon, told.epsilon)
    await context.close()
  })

  test('a picture and a mask of a canvas are what Node draws from their numbers', async () => {
    const { page, context } = await visit()
    const { height, width, channels } = site.manifest.shape
    const plane = height * width
    const options = { seed: 8, count: 2, steps: 6, strength: 0.8 }
    // A red picture, of which the left half is drawn anew.
    const image = Float32Array.from({ length: channels * plane }, (_, i) => (i < plane ? 1 : -1))
    const mask = Float32Array.from({ length: channels * plane }, (_, i) => (i % width < width / 2 ? 1 : 0))
    const twice = (values: Float32Array) => Float32Array.from([...values, ...values])
    const expected = await generate(site.manifest, network, {
      ...options,
      init: twice(image),
      mask: twice(mask),
    })
    const found = await page.evaluate(
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
        const given = { init: paint(1, 'red'), mask: paint(0.5, 'white') }
        const images = await model.sample({ ...options, ...given })
        const wrong = model.sample({ ...options, init: new ImageData(3, 3) })
        return {
          images: images.map(({ pixels }) => [...pixels.data]),
          wrong: await wrong.catch((error: Error) => error.message),
        }
      },
      { name: site.manifest.name, options, width, height },
    )
    assertSameImages(
      found.images,
      [0, 1].map((i) => [...toRgba(expected, i, site.manifest.shape)]),
    )
    const right = found.images[0]!.slice((width - 1) * 4, width * 4)
    assert.deepEqual(right, [255, 0, 0, 255], 'what the mask keeps')
    assert.match(String(found.wrong), /3 × 3; expected 16 × 16/)
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

  interface Ask {
    readonly name?: string
    readonly device?: 'wasm' | 'webgpu' | 'auto'
    readonly cache?: boolean
    readonly options?: Module.SampleOptions
  }

  function draw(
    page: Page,
    options: Module.SampleOptions,
  ): Promise<{ images: number[][]; progress: Told[] }> {
    return page.evaluate(
      async ({ name, options }) => {
        const path = '/sampler.js'
        const { load } = (await import(path)) as typeof Module
        const progress: Module.LoadProgress[] = []
        const model = await load(name, { device: 'wasm', onProgress: (told) => progress.push(told) })
        const images = await model.sample(options)
        model.dispose()
        return { images: images.map(({ pixels }) => [...pixels.data]), progress }
      },
      { name: site.manifest.name, options },
    )
  }

  /** What goes wrong with it. */
  function outcome(page: Page, ask: Ask = {}): Promise<{ name: string; code: string; message: string }> {
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
      { name: site.manifest.name, device: 'wasm' as const, options: {}, ...ask },
    )
  }

  async function reference(options: GenerateOptions): Promise<number[][]> {
    const values = await generate(site.manifest, network, options)
    return Array.from({ length: options.count }, (_, i) => [...toRgba(values, i, site.manifest.shape)])
  }
})

/** What loading tells, as it comes out of the page. */
interface Told {
  readonly stage: string
  readonly loaded?: number
  readonly total?: number
  readonly reason?: string
}

function assertClose(found: ArrayLike<number>, expected: ArrayLike<number>): void {
  assert.equal(found.length, expected.length)
  for (let i = 0; i < found.length; i++) {
    assert.ok(Math.abs(found[i]! - expected[i]!) < 1e-3, `${found[i]} at ${i}, expected ${expected[i]}`)
  }
}
