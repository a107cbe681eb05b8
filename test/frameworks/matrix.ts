// Run by `npm run test:frameworks`. Not part of `npm test`, because it installs several frameworks.
import assert from 'node:assert/strict'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Network } from '@ddpm/shared'
import type { Browser } from 'playwright-core'
import { launch } from '../support/browser.ts'
import { command } from '../support/command.ts'
import { serveFolder } from '../support/file-host.ts'
import { assertSameImages, generateReference, nodeNetwork } from '../support/images.ts'
import { openAndGenerate } from '../support/page-result.ts'
import { type Site, startSite } from '../support/site.ts'
import { buildProject, publishDryRun, serveProject } from './project.ts'

/**
 * Installs the packed sampler in a project of each framework, with the framework's default configuration, builds it for
 * production and generates images in Chromium.
 */
describe('frameworks', { timeout: 3_600_000 }, () => {
  let site: Site
  let browser: Browser
  let network: Network
  let folder: string
  let tarball: string
  let reference: number[][]

  before(async () => {
    site = await startSite({ size: 16, numResBlocks: 1, attention: [false, false] })
    network = await nodeNetwork(site.exported, site.manifest)
    browser = await launch()
    folder = join(site.folder, 'projects')
    await mkdir(folder)
    const { status, stderr } = await command(['package', '--out', folder])
    assert.equal(status, 0, stderr)
    tarball = join(folder, (await readdir(folder)).find((name) => name.endsWith('.tgz'))!)
    reference = await generateReference(site.manifest, network, { seed: 7, count: 2, steps: 4 })
  })
  after(async () => {
    await browser?.close()
    await site?.close()
  })

  const address = (host: string, options: Record<string, string> = { device: 'wasm' }) =>
    `${host}?${new URLSearchParams({ model: `${site.proxy.url}/${site.manifest.name}`, ...options })}`
  const isolation = {
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
  }

  test('publint, attw and the dry run of npm publish report no problem', async () => {
    await buildProject('lint', folder, tarball)
    const { stderr } = await publishDryRun(tarball)
    const warnings = stderr.split('\n').filter((line) => /^npm warn/i.test(line) && !/logged in/.test(line))
    assert.deepEqual(warnings, [])
  })

  test('Vite: production build, with WebAssembly', async () => {
    const host = await serveFolder(join(await buildProject('vite', folder, tarball), 'dist'))
    const { images, device } = await openAndGenerate(browser, address(host.url))
    assertSameImages(images, reference)
    assert.match(device, /^WebAssembly, 1 thread/)
    await host.close()
  })

  test('Vite: production build, on WebGPU', async () => {
    const host = await serveFolder(join(folder, 'vite/dist'))
    const { images, device } = await openAndGenerate(browser, address(host.url, { device: 'webgpu' }))
    assertSameImages(images, reference)
    assert.match(device, /^WebGPU/)
    await host.close()
  })

  test('Vite: production build with isolation headers uses threads', async () => {
    const host = await serveFolder(join(folder, 'vite/dist'), isolation)
    const { images, device } = await openAndGenerate(browser, address(host.url))
    assertSameImages(images, reference)
    assert.match(device, /^WebAssembly, [2-4] threads/)
    await host.close()
  })

  test('Vite: development server', async () => {
    const host = await serveProject(join(folder, 'vite'), 'node_modules/vite/bin/vite.js', '--port', 'PORT')
    const { images } = await openAndGenerate(browser, address(host.url))
    assertSameImages(images, reference)
    await host.close()
  })

  test('React with Vite, in strict mode', async () => {
    const host = await serveFolder(join(await buildProject('vite-react', folder, tarball), 'dist'))
    assertSameImages((await openAndGenerate(browser, address(host.url))).images, reference)
    await host.close()
  })

  test('webpack without a configuration file', async () => {
    const dist = join(await buildProject('webpack', folder, tarball), 'dist')
    await writeFile(join(dist, 'index.html'), '<!doctype html><script defer src="main.js"></script>')
    const host = await serveFolder(dist)
    assertSameImages((await openAndGenerate(browser, address(host.url))).images, reference)
    await host.close()
  })

  test('Next: the app router renders the element on the server, and the page generates', async () => {
    const host = await serveProject(
      await buildProject('next', folder, tarball),
      'node_modules/next/dist/bin/next',
      'start',
      '--port',
      'PORT',
    )
    await assertRendered(address(host.url))
    assertSameImages((await openAndGenerate(browser, address(host.url))).images, reference)
    await host.close()
  })

  test('SvelteKit renders the element on the server, and the page generates', async () => {
    const host = await serveProject(await buildProject('sveltekit', folder, tarball), 'build/index.js')
    await assertRendered(address(host.url))
    assertSameImages((await openAndGenerate(browser, address(host.url))).images, reference)
    await host.close()
  })

  for (const name of ['rollup', 'esbuild']) {
    test(`${name}: copies no workers, which then come from the model's server`, async () => {
      const dist = join(await buildProject(name, folder, tarball), 'public')
      await writeFile(
        join(dist, 'index.html'),
        '<!doctype html><script type="module" src="main.js"></script>',
      )
      const host = await serveFolder(dist)
      assertSameImages((await openAndGenerate(browser, address(host.url))).images, reference)
      await host.close()
    })
  }

  /** Asserts that the HTML of the server contains the element. */
  async function assertRendered(url: string): Promise<void> {
    const html = await (await fetch(url)).text()
    assert.match(html, /<diffusion-canvas model="http[^"]+" seed="7"/)
  }
})
