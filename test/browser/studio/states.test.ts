import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { formatManifest, graphFile, type Manifest } from '@ddpm/shared'
import type { Browser, Page } from 'playwright-core'
import { buildSite } from '../../../edge/build/site.ts'
import { serveOnNode } from '../../../edge/commands/hosting/node.ts'
import type { RunningServer } from '../../../edge/commands/hosting/workerd.ts'
import { readExported } from '../../../edge/commands/publishing/exported.ts'
import { publishModel } from '../../../edge/commands/publishing/publish-model.ts'
import { storeRegistry } from '../../../edge/commands/publishing/registry.ts'
import { keys } from '../../../edge/server/registry/keys.ts'
import { begin, commit } from '../../../edge/server/registry/publishing.ts'
import { memoryStorage } from '../../../edge/server/storage/memory.ts'
import { violations } from '../../support/accessibility.ts'
import { launch } from '../../support/browser.ts'
import { exportTinyModel } from '../../support/model.ts'
import { storeRuntimeFiles } from '../../support/runtime.ts'
import { waitForImages } from '../../support/studio-page.ts'

const wrongHash = 'ab'.repeat(32)

/** The page in states other than success: nothing published, a slow or failing list, a broken model, many models. */
describe('studio: states', { timeout: 900_000 }, () => {
  let folder: string
  let empty: RunningServer
  let full: RunningServer
  let browser: Browser

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ddpm-states-'))
    const exported = join(folder, 'export')
    await exportTinyModel(exported, { size: 8, numResBlocks: 1, attention: [false, false] })
    const model = await readExported(exported)
    const { publicFolder, runtimeFiles } = await buildSite()
    const serve = (storage = memoryStorage()) =>
      serveOnNode({ storage, publicFolder, port: 0, limits: null, log: () => {} })
    empty = await serve()
    const storage = memoryStorage()
    await storeRuntimeFiles(storage, runtimeFiles)
    // Compressed at the fastest level, for the page that names the download size.
    for (const { path, sha256, mediaType } of runtimeFiles.filter(({ path }) =>
      path.endsWith('threaded.wasm'),
    )) {
      await storage.put(keys.variant(sha256, 'gzip'), gzipSync(await readFile(path), { level: 1 }), {
        mediaType,
      })
    }
    await publishModel(
      storeRegistry(storage, 'locally', async () => {}),
      model,
    )
    const publish = async (changes: Partial<Manifest>) => {
      const manifest = { ...model.manifest, ...changes }
      const { version } = await begin(storage, formatManifest(manifest))
      await commit(storage, manifest.name, version, [])
    }
    // More than the server lists at once.
    for (let i = 10; i < 70; i++) await publish({ name: `ada/copy-${i}`, description: `Number ${i}.` })
    await publish({ name: 'zoe/grouped', classes: ['red disc', 'red ring', 'blue disc', 'blue ring'] })
    await publish({ name: 'zoe/kittens', description: 'Young cats.' })
    const { bytes } = graphFile(model.manifest)
    await storage.put(keys.file(wrongHash), 'x'.repeat(bytes), { mediaType: 'application/octet-stream' })
    const files = model.manifest.files.map((file) =>
      file.role === 'preview' ? file : { ...file, bytes, sha256: wrongHash },
    )
    await publish({ name: 'zoe/broken', files })
    full = await serve(storage)
    browser = await launch({ webgpu: false })
  })
  after(async () => {
    await browser?.close()
    await empty?.stop()
    await full?.stop()
    if (folder) await rm(folder, { recursive: true, force: true })
  })

  /** Opens a page without loading it, so that a test can intercept its requests. */
  const newPage = async (): Promise<Page> =>
    (await browser.newContext({ serviceWorkers: 'block', colorScheme: 'dark' })).newPage()
  const link = '?model=test/discs&seed=1&count=4&sampler=ddim&steps=3'

  test('while the list of models loads, the page says so, and later that the server is slow', async () => {
    const page = await newPage()
    let respond = () => {}
    const gate = new Promise<void>((resolve) => {
      respond = resolve
    })
    await page.route('**/api/models', async (route) => {
      await gate
      await route.continue()
    })
    await page.goto(`${full.url}/${link}`)
    await page.getByText('Loading the models.').waitFor()
    await page.getByText('the server responds slowly').waitFor()
    assert.equal(await page.locator('#timeline').isVisible(), false)
    assert.deepEqual(await violations(page), [])
    respond()
    await waitForImages(page, 4)
    assert.equal(await page.locator('#placeholder').isVisible(), false)
    await page.context().close()
  })

  test('if the list of models fails, the page says so and tries again on a click', async () => {
    const page = await newPage()
    await page.route('**/api/models', (route) => route.abort())
    await page.goto(`${full.url}/${link}`)
    await page.getByText('The list of models could not be loaded.').waitFor()
    await page.getByRole('alert').filter({ hasText: 'The server cannot be reached' }).waitFor()
    assert.deepEqual(await violations(page), [])
    await page.unroute('**/api/models')
    await page.getByRole('button', { name: 'Try again' }).click()
    await waitForImages(page, 4)
    await page.context().close()
  })

  test('without models, the page says so instead of showing an empty sheet', async () => {
    const page = await newPage()
    await page.goto(empty.url)
    await page.getByRole('heading', { name: 'No model has been published here yet' }).waitFor()
    for (const id of ['timeline', 'play', 'settings', 'generate', 'placeholder']) {
      assert.equal(await page.locator(`#${id}`).isVisible(), false, id)
    }
    assert.deepEqual(await violations(page), [])
    await page.goto(`${empty.url}/explain/`)
    await page.getByRole('alert').filter({ hasText: 'No model has been published yet.' }).waitFor()
    assert.deepEqual(await violations(page), [])
    await page.context().close()
  })

  test('an unknown address shows a page to browsers, and JSON to other clients', async () => {
    const page = await newPage()
    const response = await page.goto(`${full.url}/some/where`)
    assert.equal(response!.status(), 404)
    await page.getByRole('heading', { name: 'Nothing is at this address' }).waitFor()
    const margin = await page.$eval('h1', (heading) => getComputedStyle(heading).marginTop)
    assert.notEqual(margin, '21.44px', 'the style sheet is loaded')
    assert.deepEqual(await violations(page), [])
    await page.getByRole('link', { name: 'Go to the image studio' }).click()
    await page.getByRole('heading', { name: 'Image studio' }).waitFor()
    const json = await fetch(`${full.url}/some/where`)
    assert.equal(json.status, 404)
    assert.equal(json.headers.get('Content-Type'), 'application/problem+json')
    assert.equal(json.headers.get('Vary'), 'Accept')
    await page.context().close()
  })

  test('a broken model is one sentence, with hashes under “Details”', async () => {
    const page = await newPage()
    await page.goto(`${full.url}/${link.replace('test/discs', 'zoe/broken')}`)
    const banner = page.getByRole('alert')
    await banner.filter({ hasText: 'A file of this model is damaged on the server' }).waitFor()
    assert.doesNotMatch((await banner.locator('> p').textContent())!, /[0-9a-f]{64}|https?:/)
    const details = banner.getByText(`expected SHA-256 ${wrongHash}`)
    assert.equal(await details.isVisible(), false)
    await banner.getByText('Details').click()
    await details.waitFor()
    assert.deepEqual(await violations(page), [])
    await page.locator('#generate:enabled').filter({ hasText: 'Generate' }).waitFor()
    await page.context().close()
  })

  test('many models are collapsed and can be searched, also those that the first list lacks', async () => {
    const page = await newPage()
    await page.goto(`${full.url}/${link.replace('test/discs', 'ada/copy-12')}`)
    await waitForImages(page, 4)
    const list = page.locator('#model-list')
    assert.equal(await list.isVisible(), false)
    await page.locator('#model-choice summary').filter({ hasText: 'ada/copy-12' }).click()
    assert.equal(await list.getByRole('radio').count(), 50)
    assert.deepEqual(await violations(page), [])
    const search = page.getByRole('searchbox', { name: 'Search the models' })
    await search.fill('copy-33')
    await page.getByText('1 model found.').waitFor()
    await search.fill('young CATS')
    await list.getByText('kittens').waitFor()
    await search.fill('zebra')
    await page.getByText('No model matches.').waitFor()
    assert.deepEqual(await violations(page), [])
    await search.fill('kittens')
    await list.getByRole('radio', { name: 'kittens' }).click()
    await page.locator('#facts').getByRole('heading', { name: 'zoe/kittens' }).waitFor()
    assert.equal(await list.isVisible(), false)
    assert.match((await page.textContent('#model-chosen'))!, /zoe\/kittens/)
    await page.context().close()
  })

  test('classes are grouped by their first word', async () => {
    const page = await newPage()
    await page.addInitScript("Object.defineProperty(navigator, 'connection', { value: { saveData: true } })")
    await page.goto(`${full.url}/?model=zoe/grouped`)
    await page.locator('#generate:enabled').waitFor()
    const groups = await page.$$eval('#class optgroup', (elements) =>
      elements.map((element) => [
        (element as HTMLOptGroupElement).label,
        Array.from(element.children, (option) => option.textContent),
      ]),
    )
    assert.deepEqual(groups, [
      ['all of one kind', ['red', 'blue', 'disc', 'ring']],
      ['red', ['red disc', 'red ring']],
      ['blue', ['blue disc', 'blue ring']],
    ])
    await page.locator('#facts').filter({ hasText: '4 in 2 groups: red, blue' }).waitFor()
    await page.context().close()
  })

  test('if the visitor saves data, the button names the download size', async () => {
    const page = await newPage()
    await page.addInitScript("Object.defineProperty(navigator, 'connection', { value: { saveData: true } })")
    const sized: string[] = []
    page.on('request', (request) => {
      if (request.method() === 'HEAD') sized.push(request.url())
    })
    await page.goto(`${full.url}/?model=test/discs&count=2&steps=2`)
    await page.locator('#generate:enabled').waitFor()
    const text = (await page.textContent('#generate'))!
    const [, megabytes] = /^Download ([\d.]+) MB and generate 2 images$/.exec(text) ?? []
    const received = (await Promise.all(sized.map(bytesReceived))).reduce((sum, bytes) => sum + bytes, 0)
    assert.equal(sized.length, 2)
    assert.ok(Math.abs(received - Number(megabytes) * 1e6) < 0.06e6, `${received} bytes: ${text}`)
    await page.locator('#generate').click()
    await waitForImages(page, 2)
    assert.equal(await page.textContent('#generate'), 'Generate 2 images')
    await page.goto(`${full.url}/?model=test/discs&count=3`)
    await page.locator('#generate:enabled').waitFor()
    assert.equal(await page.textContent('#generate'), 'Generate 3 images', 'the files are cached')
    await page.context().close()
  })
})

/** Downloads a file as browsers do. Returns the number of bytes on the wire: `fetch` would decompress them. */
function bytesReceived(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { 'Accept-Encoding': 'gzip, deflate, br, zstd' } }, async (response) => {
      let bytes = 0
      for await (const chunk of response) bytes += (chunk as Buffer).length
      resolve(bytes)
    }).on('error', reject)
  })
}
