import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Network } from '@ddpm/shared'
import type { Browser, Page } from 'playwright-core'
import type { DiffusionCanvas } from '../../edge/sampler/element.ts'
import { launch } from '../support/browser.ts'
import { command } from '../support/command.ts'
import { type Host, serveFolder, serveText } from '../support/file-host.ts'
import { assertSameImages, generateReference, nodeNetwork, type ReferenceOptions } from '../support/images.ts'
import { type Site, startSite } from '../support/site.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const examples = join(root, 'edge/sampler/examples')

/** Tests the element on other origins, and the static export on a plain file host. */
describe('element and static export', { timeout: 900_000 }, () => {
  let site: Site
  let network: Network
  let browser: Browser

  before(async () => {
    site = await startSite({ size: 16, numResBlocks: 1, attention: [false, false] })
    network = await nodeNetwork(site.exported, site.manifest)
    browser = await launch({ webgpu: false })
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })

  const sampling = { seed: 7, count: 2, steps: 4 }

  test('the plain HTML example works on another origin without cross-origin isolation', async () => {
    const text = await readFile(join(examples, 'plain.html'), 'utf8')
    const html = text
      .replaceAll('https://ddpm.example.workers.dev', site.proxy.url)
      .replaceAll('me/kittens', site.manifest.name)
    const host = await serveText(html)
    const page = await newPage()
    const errors: string[] = []
    page.on('pageerror', (error) => errors.push(String(error)))
    await page.goto(host.url)
    assert.equal(await page.evaluate(() => crossOriginIsolated), false)
    await page.getByRole('button', { name: 'Generate', exact: true }).click()
    await page.getByText(/^seed \d+, generated on WebAssembly, 1 thread/).waitFor()
    await page.waitForFunction(() => {
      const canvas = document.querySelector('diffusion-canvas')!.shadowRoot!.querySelector('canvas')!
      return canvas.width === 32 && canvas.getContext('2d')!.getImageData(31, 31, 1, 1).data[3] === 255
    })
    assert.deepEqual(errors, [])
    await page.close()
    await host.close()
  })

  test('the element generates its seed, dispatches events, and generates the next seed on Enter', async () => {
    const { page, host } = await embed()
    const first = await nextDone(page, () => page.evaluate(() => document.body.append(globalThis.element)))
    assert.equal(first.seed, 7)
    const four = { count: 4, steps: 4, class: 'warm' }
    assertSameImages(first.images, await reference({ ...four, seed: 7 }))
    assert.ok(first.events.includes('step') && first.events.includes('progress'))
    const button = page.getByRole('button', {
      name: /model test\/discs, seed 7\. Press to generate another image/,
    })
    await button.focus()
    const second = await nextDone(page, () => page.keyboard.press('Enter'))
    assert.equal(second.seed, 8)
    assertSameImages(second.images, await reference({ ...four, seed: 8 }))
    await page.evaluate(() => globalThis.element.setAttribute('sampler', 'nothing'))
    await page.getByText(/sampler="nothing": expected one of ddpm/).waitFor()
    await page.close()
    await host.close()
  })

  test('the element shows no previews with reduced motion, and waits for a click if the browser saves data', async () => {
    const { page, host } = await embed(
      `Object.defineProperty(navigator, 'connection', { value: { saveData: true } })`,
    )
    await page.emulateMedia({ reducedMotion: 'reduce' })
    const from = site.proxy.paths.length
    await page.evaluate(() => document.body.append(globalThis.element))
    await page.getByText('Press to download the model and generate an image.').waitFor()
    assert.ok(!site.proxy.paths.slice(from).some((path) => /^\/(api|files)/.test(path)))
    const { seed, previews } = await nextDone(page, () => page.getByRole('button').click())
    assert.equal(seed, 7)
    assert.equal(previews, 0)
    await page.close()
    await host.close()
  })

  test('the static export works in a folder of a plain file host, and decompresses onnxruntime itself', async () => {
    const root = join(site.folder, 'static')
    const { status, stderr } = await command(['static', site.exported, '--out', join(root, 'gallery')])
    assert.equal(status, 0, stderr)
    const host = await serveFolder(root)
    const page = await newPage()
    const failed: string[] = []
    page.on('response', (response) => {
      if (response.status() >= 400) failed.push(response.url())
    })
    await page.goto(`${host.url}gallery/`)
    await page.getByRole('link', { name: 'How it works' }).click()
    await page.waitForURL(`${host.url}gallery/explain/`)
    await page.getByRole('link', { name: 'Back to the studio' }).click()
    await page.getByRole('radio', { name: /./ }).first().waitFor()
    const images = await page.evaluate(async (options) => {
      const path = '/gallery/sampler.js'
      const { load, listModels } = (await import(path)) as typeof import('../../edge/sampler/browser.ts')
      const [summary] = await listModels()
      const model = await load(summary!.name, { device: 'wasm' })
      const images = await model.sample(options)
      return images.map(({ pixels }) => [...pixels.data])
    }, sampling)
    assertSameImages(images, await reference(sampling))
    await page.waitForFunction(() => navigator.serviceWorker.controller)
    assert.deepEqual(failed, [])
    await page.close()
    await host.close()
  })

  async function newPage(): Promise<Page> {
    const page = await browser.newPage()
    // Allows for other work on the machine.
    page.setDefaultTimeout(180_000)
    return page
  }

  /** Opens a page of another origin with the element's module, and creates an element without attaching it. */
  async function embed(script = ''): Promise<{ page: Page; host: Host }> {
    const host = await serveText('<!doctype html><body></body>')
    const page = await newPage()
    if (script) await page.addInitScript(script)
    await page.goto(host.url)
    await page.evaluate(
      async ({ module, attributes }) => {
        await import(module)
        const element = document.createElement('diffusion-canvas')
        for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
        globalThis.element = element as DiffusionCanvas
      },
      {
        module: `${site.proxy.url}/diffusion-canvas.js`,
        attributes: {
          model: `${site.proxy.url}/${site.manifest.name}`,
          seed: '7',
          count: '4',
          steps: '4',
          class: 'warm',
        },
      },
    )
    return { page, host }
  }

  interface Done {
    readonly seed: number
    readonly images: number[][]
    readonly events: string[]
    readonly previews: number
  }

  async function nextDone(page: Page, action: () => Promise<unknown>): Promise<Done> {
    await page.evaluate(() => {
      const events: string[] = []
      let previews = 0
      const { element } = globalThis
      for (const type of ['progress', 'step', 'error'])
        element.addEventListener(type, () => events.push(type))
      element.addEventListener('step', (event) => {
        if ((event as CustomEvent).detail.x) previews++
      })
      globalThis.done = new Promise((resolve, reject) => {
        element.addEventListener('error', (event) => reject((event as Event as CustomEvent).detail), {
          once: true,
        })
        element.addEventListener(
          'done',
          (event) => {
            const { seed, images } = (event as CustomEvent).detail
            const bytes = images.map(({ pixels }: { pixels: ImageData }) => [...pixels.data])
            resolve({ seed, images: bytes, events, previews })
          },
          { once: true },
        )
      })
    })
    await action()
    return page.evaluate(() => globalThis.done as Promise<Done>)
  }

  const reference = (options: ReferenceOptions) => generateReference(site.manifest, network, options)
})

declare global {
  var element: DiffusionCanvas
  var done: Promise<unknown>
}
