// The sampler module and the entry for Node load models from repositories of a stand-in of the Hugging Face hub.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { graphFile, type Network } from '@ddpm/shared'
import type { Browser, Page } from 'playwright-core'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { listHubFiles, publishToHub } from '../../edge/commands/publishing/hub.ts'
import type * as Module from '../../edge/sampler/browser.ts'
import { load } from '../../edge/sampler/node.ts'
import { launch } from '../support/browser.ts'
import { type StandIn, startHub, writeToken } from '../support/hub.ts'
import { assertSameImages, generateReference, nodeNetwork, type ReferenceOptions } from '../support/images.ts'
import { type FaultyProxy, type ProxiedRequest, startProxy } from '../support/proxy.ts'
import { type Site, startSite } from '../support/site.ts'

type ImageOfModule = Module.GeneratedImage

describe('a model on the Hugging Face hub', { timeout: 600_000 }, () => {
  let site: Site
  let hub: StandIn
  /** The hub's store of large files, with faults. */
  let store: FaultyProxy
  let network: Network
  const name = 'ada/discs'
  const sampling = { count: 2, seed: 3, steps: 4 }

  before(async () => {
    site = await startSite({ size: 16, numResBlocks: 1, attention: [false, false] })
    network = await nodeNetwork(site.exported, site.manifest)
    hub = await startHub()
    store = await startProxy(hub.url)
    hub.store = store.url
    process.env['HF_ENDPOINT'] = hub.url
    await publish({ name, revision: 'main' })
    await publish({ name, revision: 'old' })
  })
  after(async () => {
    delete process.env['HF_ENDPOINT']
    await store?.close()
    await hub?.stop()
    await site?.close()
  })

  async function publish(address: { name: string; revision: string }, description = 'Discs.') {
    const files = await listHubFiles(await readExported(site.exported, { name, description }))
    await publishToHub(address, files, { hubUrl: hub.url, accessToken: writeToken })
  }

  const graphPath = () => `/storage/${graphFile(site.manifest).sha256}`

  /** Cuts off the next download of the model. Returns the requests for it. */
  async function withInterruption(action: () => Promise<void>): Promise<ProxiedRequest[]> {
    const from = store.requests.length
    store.trouble = { path: graphPath(), cuts: [50_000] }
    await action()
    store.trouble = null
    return store.requests.slice(from)
  }

  /** Asserts that there were two requests, without a preflight, and that the second one was for the rest of the file. */
  function assertResumed(requests: readonly ProxiedRequest[]): void {
    assert.equal(requests.length, 2)
    assert.match(requests[1]!.range!, /^bytes=[1-9]\d*-$/)
    assert.deepEqual([requests[1]!.status, requests[1]!.ifRange], [206, undefined])
  }

  const reference = (options: ReferenceOptions) => generateReference(site.manifest, network, options)

  describe('in Node', () => {
    test('loads by short address, with a revision, and by the address of the page', async () => {
      for (const url of [`hf:${name}`, `hf:${name}@old`, `https://huggingface.co/${name}/tree/old`]) {
        const model = await load(url)
        const images = await model.sample(sampling)
        assertSameImages(
          images.map(({ pixels }) => [...pixels.data]),
          await reference(sampling),
        )
        assert.equal(model.manifest.name, name)
        model.dispose()
      }
    })

    test('an interrupted download resumes, without headers that the hub would have to allow', async () => {
      const requests = await withInterruption(async () => (await load(`hf:${name}`)).dispose())
      assertResumed(requests)
    })

    test('wrong contents are rejected', async () => {
      store.trouble = { path: graphPath(), cuts: [], damages: 5 }
      await assert.rejects(load(`hf:${name}@old`), { code: 'hash-mismatch' })
      store.trouble = null
    })

    test('unknown repositories and revisions are reported', async () => {
      for (const url of ['hf:ada/none', `hf:${name}@none`]) {
        await assert.rejects(load(url), {
          code: 'not-found',
          message:
            /resolve\/\w+\/manifest\.json .*Expected a public repository ada\/\w+ that has a manifest\.json/,
        })
      }
    })
  })

  describe('in Chromium', () => {
    let browser: Browser
    let page: Page
    /** A page on its own origin, without a content security policy. */
    const pages = createServer((_, response) =>
      response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>page</title>'),
    )
    before(async () => {
      await new Promise<void>((resolve) => pages.listen(0, '127.0.0.1', resolve))
      browser = await launch({ webgpu: false })
      const context = await browser.newContext()
      // Requests to the hub itself go to the stand-in. Its store of large files is requested directly.
      await context.route('https://huggingface.co/**', async (route) => {
        const { pathname, search } = new URL(route.request().url())
        const headers = await route.request().allHeaders()
        const response = await fetch(`${hub.url}${pathname}${search}`, { headers, redirect: 'manual' })
        await route.fulfill({
          status: response.status,
          headers: Object.fromEntries(response.headers),
          body: Buffer.from(await response.arrayBuffer()),
        })
      })
      page = await context.newPage()
      await page.goto(`http://127.0.0.1:${(pages.address() as AddressInfo).port}/`)
    })
    after(async () => {
      await browser?.close()
      await new Promise((resolve) => pages.close(resolve))
    })

    const sample = (url: string) =>
      page.evaluate(
        async ({ module, url, options }) => {
          const { cacheInfo, load } = (await import(module)) as typeof Module
          const model = await load(url, { device: 'wasm' })
          const images = await model.sample(options)
          model.dispose()
          const { files } = await cacheInfo()
          return { images: images.map(({ pixels }) => [...pixels.data]), cached: files }
        },
        { module: `${site.proxy.url}/sampler.js`, url, options: sampling },
      )
    test("generates the same images, with onnxruntime from the module's server", async () => {
      const { images, cached } = await sample(`hf:${name}`)
      assertSameImages(images, await reference(sampling))
      assert.ok(cached.some(({ sha256 }) => sha256 === graphFile(site.manifest).sha256))
    })

    test("the README's examples generate the same images, in the module and in the element", async () => {
      const readme = await readFile(new URL('../../edge/sampler/README.md', import.meta.url), 'utf8')
      const [script, element, ...more] = readme
        .split('```')
        .filter((block) => /^(js|html)\n/.test(block) && block.includes('hf:'))
        .map((block) =>
          block
            .replace(/^\w+\n/, '')
            .replaceAll('me/kittens', name)
            .replace('@small', '@old'),
        )
      assert.deepEqual(more, [])
      const { module, elementImages } = await page.evaluate(
        async ({ script, element, server, options }) => {
          const source = script.replace("'ddpm-sampler'", `'${server}/sampler.js'`)
          const blob = new Blob([source, '\nexport { model, variant }'], { type: 'text/javascript' })
          const { model, variant } = await import(URL.createObjectURL(blob))
          const module = []
          for (const each of [model, variant]) {
            module.push((await each.sample(options)).map(({ pixels }: ImageOfModule) => [...pixels.data]))
            each.dispose()
          }
          await import(`${server}/diffusion-canvas.js`)
          document.body.innerHTML = element
          const canvas = document.querySelector('diffusion-canvas')!
          canvas.setAttribute('steps', String(options.steps))
          const { images } = await new Promise<{ images: ImageOfModule[] }>((resolve, reject) => {
            canvas.addEventListener('done', (event) => resolve((event as CustomEvent).detail))
            canvas.addEventListener('error', (event: Event) => reject((event as CustomEvent).detail))
          })
          canvas.remove()
          return { module, elementImages: images.map(({ pixels }) => [...pixels.data]) }
        },
        { script: script!, element: element!, server: site.proxy.url, options: sampling },
      )
      for (const images of module) assertSameImages(images, await reference(sampling))
      const { steps } = sampling
      assertSameImages(elementImages, await reference({ seed: 7, count: 4, steps }))
    })

    test('a commit that does not change the model causes no download', async () => {
      await publish({ name, revision: 'main' }, 'Other words.')
      const from = store.requests.length
      const { images } = await sample(`https://huggingface.co/${name}`)
      assertSameImages(images, await reference(sampling))
      assert.deepEqual(store.requests.slice(from), [])
    })

    test('an interrupted download resumes', async () => {
      await page.evaluate(() => caches.delete('ddpm-files'))
      const requests = await withInterruption(async () => {
        assertSameImages((await sample(`hf:${name}`)).images, await reference(sampling))
      })
      assertResumed(requests)
    })
  })
})
