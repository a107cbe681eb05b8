import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type GenerateOptions, generate, type Network, toRgba } from '@ddpm/shared'
import { build } from 'esbuild'
import type { Browser, Page } from 'playwright-core'
import sharp from 'sharp'
import type { DiffusionCanvas } from '../../edge/sampler/element.ts'
import { launch } from '../support/browser.ts'
import { assertSameImages, nodeNetwork } from '../support/images.ts'
import { type Site, startSite } from '../support/site.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const examples = join(root, 'edge/sampler/examples')

/** Tests the npm package from its tarball, the element on other origins, and the static export on a plain file host. */
describe('npm package, element and static export', { timeout: 900_000 }, () => {
  let site: Site
  let network: Network
  let browser: Browser
  /** Folder of an empty project with the tarball installed. */
  let project: string

  before(async () => {
    site = await startSite({ size: 16, numResBlocks: 1, attention: [false, false] })
    network = await nodeNetwork(site.exported, site.manifest)
    browser = await launch({ webgpu: false })
    project = join(site.folder, 'project')
    await mkdir(project)
    await command('package', '--out', project)
    const [tarball] = (await readdir(project)).filter((name) => name.endsWith('.tgz'))
    await writeFile(join(project, 'package.json'), '{ "type": "module", "private": true }')
    await npm('install', `./${tarball}`)
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })

  const sampling = { seed: 7, count: 2, steps: 4 }

  test('the installed package generates the same images in Node as onnxruntime-node, from a server and from a folder', async () => {
    const script = `
      import { load } from 'ddpm-sampler/node'
      const images = []
      for (const source of process.argv.slice(2)) {
        const model = await load(source, { threads: 1 })
        const samples = await model.sample(${JSON.stringify(sampling)})
        images.push(samples.map(({ pixels }) => [...pixels.data]))
        model.dispose()
      }
      console.log(JSON.stringify(images))`
    await writeFile(join(project, 'sample.mjs'), script)
    const address = `${site.proxy.url}/${site.manifest.name}`
    const { stdout } = await run(process.execPath, ['sample.mjs', address, site.exported], options())
    for (const images of JSON.parse(stdout) as number[][][]) {
      assertSameImages(images, await reference(sampling))
    }
  })

  test('the Node example writes PNG files', async () => {
    await cp(join(examples, 'node.mjs'), join(project, 'node.mjs'))
    // Copies the repository's sharp instead of downloading it again.
    await cp(join(root, 'node_modules/sharp'), join(project, 'node_modules/sharp'), { recursive: true })
    await cp(join(root, 'node_modules/@img'), join(project, 'node_modules/@img'), { recursive: true })
    for (const name of ['detect-libc', 'semver']) {
      await cp(join(root, 'node_modules', name), join(project, 'node_modules', name), { recursive: true })
    }
    await run(process.execPath, ['node.mjs', site.exported, '7'], options())
    const { seed, count } = sampling
    const images = await Promise.all(
      [0, 1].map(async (i) => {
        const png = await readFile(join(project, `seed7-${i}.png`))
        return [...(await sharp(png).ensureAlpha().raw().toBuffer())]
      }),
    )
    assertSameImages(images, await reference({ seed, count }))
  })

  test('types compile in an empty project and reject invalid options', async () => {
    const use = `
      import { load, type GeneratedImage, SamplerError, startNoise } from 'ddpm-sampler'
      import { load as loadInNode } from 'ddpm-sampler/node'
      import { DiffusionCanvas } from 'ddpm-sampler/element'
      const model = await load('a/b', { onProgress: (event) => { if (event.stage === 'download') event.loaded.toFixed() } })
      const images: GeneratedImage[] = await model.sample({ sampler: 'unipc', class: null, previewEvery: 'auto' })
      const noise: Float32Array = startNoise(model.manifest, 1, images[0]!.index)
      export const result = { noise, element: DiffusionCanvas, code: new SamplerError('offline', '').code, loadInNode }`
    const wrong = `
      import { load } from 'ddpm-sampler'
      await (await load('a/b')).sample({ sampler: 'nothing' })`
    await writeFile(join(project, 'use.ts'), use)
    await writeFile(join(project, 'wrong.ts'), wrong)
    const check = (file: string) => {
      const lib = 'ES2023,DOM,DOM.Iterable,DOM.AsyncIterable'
      const flags = ['--noEmit', '--strict', '--target', 'ES2023', '--lib', lib, '--module', 'NodeNext']
      return run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...flags, file], options())
    }
    await check('use.ts')
    await assert.rejects(check('wrong.ts'), ({ stdout }: { stdout: string }) => /'"nothing"'/.test(stdout))
  })

  test('the React component, bundled with esbuild, generates images on a page of another origin', async () => {
    await npm('install', 'react@19', 'react-dom@19')
    await cp(join(examples, 'react.jsx'), join(project, 'react.jsx'))
    const address = `${site.proxy.url}/${site.manifest.name}`
    await writeFile(
      join(project, 'main.jsx'),
      `import { createRoot } from 'react-dom/client'
       import { DiffusionImage } from './react.jsx'
       const root = createRoot(document.querySelector('main'))
       globalThis.generate = (seed) => root.render(<DiffusionImage address="${address}" seed={seed} steps={4} />)
       generate(7)`,
    )
    const out = join(project, 'public')
    await build({
      entryPoints: [join(project, 'main.jsx')],
      bundle: true,
      format: 'esm',
      jsx: 'automatic',
      outdir: out,
      logLevel: 'error',
    })
    const installed = join(project, 'node_modules/ddpm-sampler')
    for (const name of await readdir(installed)) {
      if (/^(worker|ort)-/.test(name)) await cp(join(installed, name), join(out, name))
    }
    await writeFile(
      join(out, 'index.html'),
      '<!doctype html><main></main><script type="module" src="main.js"></script>',
    )
    const host = await serveFolder(out)
    const page = await newPage()
    await page.goto(host.url)
    const generated = (seed: number) =>
      page.getByText(new RegExp(`^seed ${seed}, generated on WebAssembly, 1 thread`)).waitFor()
    await generated(7)
    const one = { count: 1, steps: 4 }
    assertSameImages(await canvases(page), await reference({ ...one, seed: 7 }))
    await page.evaluate(() => (globalThis as unknown as { generate(seed: number): void }).generate(8))
    await page.getByRole('img', { name: 'Generated from seed 8' }).waitFor()
    await generated(8)
    assertSameImages(await canvases(page), await reference({ ...one, seed: 8 }))
    await page.close()
    await host.close()
  })

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
    await command('static', site.exported, '--out', join(root, 'gallery'))
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

  function canvases(page: Page): Promise<number[][]> {
    return page.$$eval('canvas', (elements) =>
      elements.map((canvas) => [
        ...canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data,
      ]),
    )
  }

  async function reference({
    class: className = null,
    ...rest
  }: GenerateOptions & { class?: string | null }): Promise<number[][]> {
    const values = await generate(site.manifest, network, { ...rest, className })
    return Array.from({ length: rest.count }, (_, i) => [...toRgba(values, i, site.manifest.shape)])
  }

  function npm(...args: string[]) {
    return run('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], options())
  }

  function options() {
    return { cwd: project, maxBuffer: 2 ** 26, shell: false }
  }
})

declare global {
  var element: DiffusionCanvas
  var done: Promise<unknown>
}

function command(name: string, ...args: string[]) {
  return run(process.execPath, [join(root, 'run.js'), name, ...args], { cwd: root })
}

interface Host {
  readonly url: string
  close(): Promise<void>
}

function serveText(html: string): Promise<Host> {
  return listen(createServer((_, response) => response.setHeader('Content-Type', 'text/html').end(html)))
}

const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
}

/** Serves files with media types by extension, and index.html for folders. */
function serveFolder(folder: string): Promise<Host> {
  return listen(
    createServer(async (request, response) => {
      const path = new URL(request.url!, 'http://host').pathname
      const read = async (name: string) => ({ name, bytes: await readFile(join(folder, name)) })
      try {
        const file = await read(path).catch(() => read(`${path}/index.html`))
        response.setHeader('Content-Type', types[extname(file.name)] ?? 'application/octet-stream')
        response.end(file.bytes)
      } catch {
        response.writeHead(404).end()
      }
    }),
  )
}

async function listen(server: Server): Promise<Host> {
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
