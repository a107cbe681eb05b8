import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { graphFile, type Network } from '@ddpm/shared'
import { build } from 'esbuild'
import type { Browser, Page } from 'playwright-core'
import sharp from 'sharp'
import { launch } from '../support/browser.ts'
import { command } from '../support/command.ts'
import { serveFolder } from '../support/file-host.ts'
import { assertSameImages, generateReference, nodeNetwork, type ReferenceOptions } from '../support/images.ts'
import { openAndGenerate } from '../support/page-result.ts'
import { type Site, startSite } from '../support/site.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const examples = join(root, 'edge/sampler/examples')

/** Tests the npm package from its tarball. */
describe('npm package', { timeout: 900_000 }, () => {
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
    const { status, stderr } = await command(['package', '--out', project])
    assert.equal(status, 0, stderr)
    const [tarball] = (await readdir(project)).filter((name) => name.endsWith('.tgz'))
    await writeFile(join(project, 'package.json'), '{ "type": "module", "private": true }')
    await npm('install', `./${tarball}`)
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })

  const sampling = { seed: 7, count: 2, steps: 4 }

  test('the package has no dependencies, needs less than 20 MB, and can be imported on a server', async () => {
    const names = await readdir(join(project, 'node_modules'))
    assert.deepEqual(
      names.filter((name) => !name.startsWith('.')),
      ['ddpm-sampler'],
    )
    const installed = join(project, 'node_modules/ddpm-sampler')
    let bytes = 0
    for (const name of await readdir(installed, { recursive: true })) {
      bytes += (await stat(join(installed, name))).size
    }
    assert.ok(bytes < 20e6, `${bytes} bytes`)
    const script = `for (const entry of ['', '/element', '/node']) await import('ddpm-sampler' + entry)`
    await run(process.execPath, ['--input-type=module', '-e', script], options())
  })

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
    await copyRuntime(out)
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

  /** Bundles a page that generates images with the installed package, and copies nothing next to it. */
  async function bundlePage(out: string): Promise<void> {
    const source = join(root, 'test/frameworks/projects/esbuild/main.js')
    await cp(source, join(project, 'page.js'))
    const entryPoints = { main: join(project, 'page.js') }
    await build({ entryPoints, bundle: true, format: 'esm', outdir: out, logLevel: 'error' })
    const html = '<!doctype html><script type="module" src="main.js"></script>'
    await writeFile(join(out, 'index.html'), html)
  }

  /** Copies the workers and onnxruntime's files of the installed package. */
  async function copyRuntime(out: string): Promise<void> {
    const installed = join(project, 'node_modules/ddpm-sampler')
    for (const name of await readdir(installed)) {
      if (/^(worker|ort)-/.test(name)) await cp(join(installed, name), join(out, name))
    }
  }

  test("workers that a bundler did not copy come from the model's server", async () => {
    const out = join(project, 'alone')
    await bundlePage(out)
    const page = await serveFolder(out)
    const model = `${site.proxy.url}/${site.manifest.name}`
    const from = site.proxy.paths.length
    const { images } = await openAndGenerate(
      browser,
      `${page.url}?${new URLSearchParams({ model, device: 'wasm' })}`,
    )
    assertSameImages(images, await reference(sampling))
    assert.ok(site.proxy.paths.slice(from).includes('/worker-wasm.js'))
    await page.close()
  })

  test('a runtime folder without workers is rejected with an explanation', async () => {
    const page = await serveFolder(join(project, 'alone'))
    const model = `${site.proxy.url}/${site.manifest.name}`
    const query = new URLSearchParams({ model, device: 'wasm', runtime: '/nowhere' })
    await assert.rejects(
      openAndGenerate(browser, `${page.url}?${query}`),
      /offline: Cannot start the worker .*nowhere\/worker-wasm\.js\. Reload .* as "runtime"/,
    )
    await page.close()
  })

  test('runtime names another host for workers and WebAssembly; the server of the model needs none of them', async () => {
    const out = join(project, 'elsewhere')
    await bundlePage(out)
    const page = await serveFolder(out)
    const files = join(project, 'node_modules/ddpm-sampler')
    const runtime = await serveFolder(files, { 'Access-Control-Allow-Origin': '*' })
    const model = `${site.proxy.url}/${site.manifest.name}`
    const query = new URLSearchParams({ model, device: 'wasm', runtime: runtime.url })
    const from = site.proxy.paths.length
    const { images } = await openAndGenerate(browser, `${page.url}?${query}`)
    assertSameImages(images, await reference(sampling))
    const graph = graphFile(site.manifest)
    const paths = [`/api/models/${site.manifest.name}`, `/files/${graph.sha256}`]
    assert.deepEqual(site.proxy.paths.slice(from), paths)
    await page.close()
    await runtime.close()
  })

  test('files of another version of the package are rejected with an explanation', async () => {
    const out = join(project, 'stale')
    await bundlePage(out)
    const installed = join(project, 'node_modules/ddpm-sampler')
    const worker = await readFile(join(installed, 'worker-wasm.js'), 'utf8')
    const { version } = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'))
    assert.ok(worker.includes(`"${version}"`))
    await writeFile(join(out, 'worker-wasm.js'), worker.replaceAll(`"${version}"`, '"0.0.1"'))
    const page = await serveFolder(out)
    const query = new URLSearchParams({ model: `${site.proxy.url}/${site.manifest.name}`, device: 'wasm' })
    await assert.rejects(
      openAndGenerate(browser, `${page.url}?${query}`),
      /bad-option: The worker's version is 0\.0\.1, but .* Copy the files worker-\* and ort-\* from/,
    )
    await page.close()
  })

  for (const isolated of [false, true]) {
    const blob = isolated ? ' blob:' : ''
    test(`a page with a strict policy generates, ${isolated ? '' : 'not '}isolated`, async () => {
      const server = site.proxy.url
      const policy =
        `default-src 'none'; script-src 'self' ${server}${blob} 'wasm-unsafe-eval'; ` +
        `worker-src 'self' blob: ${server}; connect-src ${server}`
      const html = '<!doctype html><script type="module" src="/page.js"></script>'
      const script = `
        import { load } from '${server}/sampler.js'
        import '${server}/diffusion-canvas.js'
        const model = await load('${server}/${site.manifest.name}', { device: 'wasm' })
        const images = await model.sample(${JSON.stringify(sampling)})
        document.body.append(document.createElement('diffusion-canvas'))
        globalThis.result = { images: images.map(({ pixels }) => [...pixels.data]), device: model.deviceReason }`
      const folder = join(project, `policy-${isolated}`)
      await mkdir(folder)
      await writeFile(join(folder, 'index.html'), html)
      await writeFile(join(folder, 'page.js'), script)
      const host = await serveFolder(folder, {
        'Content-Security-Policy': policy,
        ...(isolated && {
          'Cross-Origin-Opener-Policy': 'same-origin',
          'Cross-Origin-Embedder-Policy': 'require-corp',
        }),
      })
      const { images, device } = await openAndGenerate(browser, host.url)
      assertSameImages(images, await reference(sampling))
      assert.match(device, isolated ? /^WebAssembly, [2-4] threads/ : /^WebAssembly, 1 thread:/)
      await host.close()
    })
  }

  test('a bundled page with a strict policy needs only its own origin and the model', async () => {
    const out = join(project, 'policy-bundled')
    await bundlePage(out)
    const installed = join(project, 'node_modules/ddpm-sampler')
    for (const name of await readdir(installed)) {
      if (/^(worker|ort)-/.test(name)) await cp(join(installed, name), join(out, name))
    }
    const policy = `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' ${site.proxy.url}`
    const host = await serveFolder(out, { 'Content-Security-Policy': policy })
    const query = new URLSearchParams({ model: `${site.proxy.url}/${site.manifest.name}`, device: 'wasm' })
    const { images } = await openAndGenerate(browser, `${host.url}?${query}`)
    assertSameImages(images, await reference(sampling))
    await host.close()
  })

  async function newPage(): Promise<Page> {
    const page = await browser.newPage()
    // Allows for other work on the machine.
    page.setDefaultTimeout(180_000)
    return page
  }

  function canvases(page: Page): Promise<number[][]> {
    return page.$$eval('canvas', (elements) =>
      elements.map((canvas) => [
        ...canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data,
      ]),
    )
  }

  const reference = (options: ReferenceOptions) => generateReference(site.manifest, network, options)

  function npm(...args: string[]) {
    return run('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], options())
  }

  function options() {
    return { cwd: project, maxBuffer: 2 ** 26, shell: false }
  }
})
