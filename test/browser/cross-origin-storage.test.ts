// Browsers that have the proposed Cross-Origin Storage share onnxruntime's WebAssembly between sites. The store is a
// stand-in. Module, worker, pages and servers are the real ones.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { after, before, beforeEach, describe, test } from 'node:test'
import { graphFile, type Network } from '@ddpm/shared'
import type { Browser } from 'playwright-core'
import type * as Module from '../../edge/sampler/browser.ts'
import { launch } from '../support/browser.ts'
import { addCrossOriginStorage, type SharedStore, startSharedStore } from '../support/cross-origin-storage.ts'
import { type Host, serveText } from '../support/file-host.ts'
import { assertSameImages, generateReference, nodeNetwork } from '../support/images.ts'
import { type Site, startSite } from '../support/site.ts'

describe('Cross-Origin Storage', { timeout: 600_000 }, () => {
  let site: Site
  let network: Network
  let browser: Browser
  let store: SharedStore
  /** Two pages of different origins that use the same server. */
  let first: Host
  let second: Host
  /** The builds of onnxruntime's WebAssembly. */
  let files: { readonly bytes: Buffer; readonly sha256: string; readonly path: string }[]
  let expected: number[][]
  const sampling = { count: 2, seed: 3, steps: 4 }

  before(async () => {
    site = await startSite({ size: 16, numResBlocks: 1, attention: [false, false] })
    network = await nodeNetwork(site.exported, site.manifest)
    expected = await generateReference(site.manifest, network, sampling)
    browser = await launch({ webgpu: false })
    first = await serveText('<!doctype html><title>first</title>')
    second = await serveText('<!doctype html><title>second</title>')
    const wasm = site.runtimeFiles.filter(({ mediaType }) => mediaType === 'application/wasm')
    files = await Promise.all(
      wasm.map(async ({ path, sha256 }) => ({
        bytes: await readFile(path),
        sha256,
        path: `/files/${sha256}`,
      })),
    )
  })
  beforeEach(async () => {
    await store?.close()
    store = await startSharedStore()
    for (const { sha256 } of files) store.publicHashes.add(sha256)
  })
  after(async () => {
    await browser?.close()
    await Promise.all([first?.close(), second?.close(), store?.close()])
    await site?.close()
  })

  test('the first site stores the file for all sites, and the second one does not download it', {
    timeout: 120_000,
  }, async () => {
    const isStored = store.nextWrite()
    assert.equal(await downloadsOfVisit(first, { until: isStored }), 1)
    assert.equal(store.entries.size, 1)
    const [hash, entry] = [...store.entries][0]!
    assert.ok(files.some(({ sha256 }) => sha256 === hash))
    assert.equal(createHash('sha256').update(entry.bytes).digest('hex'), hash)
    assert.ok(entry.isGlobal)

    const from = store.requests.length
    assert.equal(await downloadsOfVisit(second), 0)
    assert.deepEqual(store.requests.slice(from), [`read ${hash}`])
    // The presence of a model would reveal which site was visited.
    const model = graphFile(site.manifest).sha256
    assert.ok(store.requests.every((request) => !request.includes(model)))
  })

  test('a file that the browser does not disclose to the site is downloaded', async () => {
    storeByAnotherSite()
    store.publicHashes.clear()
    assert.equal(await downloadsOfVisit(second), 1)
  })

  test('wrong contents are not used', async () => {
    storeByAnotherSite((bytes) => bytes.fill(1, 1_000_000, 1_000_010))
    assert.equal(await downloadsOfVisit(second), 1)
    assert.match(store.requests[0]!, /^read/)
  })

  test('if access is denied, the file is downloaded and the images are the same', {
    timeout: 120_000,
  }, async () => {
    storeByAnotherSite()
    store.refusal = 'NotAllowedError'
    assert.equal(await downloadsOfVisit(second, { until: store.nextWrite() }), 1)
  })

  test('cache: false neither reads nor stores the file', async () => {
    assert.equal(await downloadsOfVisit(first, { cache: false }), 1)
    assert.deepEqual(store.requests, [])
  })

  test('the method name of earlier drafts works, too', async () => {
    storeByAnotherSite()
    assert.equal(await downloadsOfVisit(second, { method: 'requestFileHandle' }), 0)
  })

  /** Fills the store. `damage` changes the contents in place. */
  function storeByAnotherSite(damage: (bytes: Buffer) => void = () => {}): void {
    for (const { sha256, bytes } of files) {
      const copy = Buffer.from(bytes)
      damage(copy)
      const storingOrigins = new Set(['https://another.example'])
      store.entries.set(sha256, { bytes: copy, storingOrigins, isGlobal: true })
    }
  }

  /**
   * Generates images on a page, in a browser without cached files, and compares them with those of Node.
   * @param options.until is awaited before the page is closed
   * @returns how often the WebAssembly was downloaded
   */
  async function downloadsOfVisit(
    { url }: Host,
    options: {
      cache?: boolean
      method?: 'getFileHandle' | 'requestFileHandle'
      until?: Promise<void>
    } = {},
  ): Promise<number> {
    const context = await browser.newContext()
    await addCrossOriginStorage(context, store, options.method)
    const page = await context.newPage()
    page.setDefaultTimeout(180_000)
    await page.goto(url)
    const from = site.proxy.paths.length
    const images = await page.evaluate(
      async ({ server, name, sampling, cache }) => {
        const { load } = (await import(`${server}/sampler.js`)) as typeof Module
        const model = await load(`${server}/${name}`, {
          device: 'wasm',
          ...(cache !== undefined && { cache }),
        })
        return (await model.sample(sampling)).map(({ pixels }) => [...pixels.data])
      },
      { server: site.proxy.url, name: site.manifest.name, sampling, cache: options.cache },
    )
    assertSameImages(images, expected)
    await options.until
    await context.close()
    return site.proxy.paths.slice(from).filter((path) => files.some((file) => file.path === path)).length
  }
})
