import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatManifest, type Manifest, UserError } from '@ddpm/shared'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import type { BrowserContext } from 'playwright-core'
import { buildSite } from '../edge/build/site.ts'
import { openLocalBucket } from '../edge/commands/hosting/local-bucket.ts'
import { storageTarget, uploadRuntimeFiles } from '../edge/commands/hosting/runtime-files.ts'
import { serveOnWorkerd } from '../edge/commands/hosting/workerd.ts'
import { readExported } from '../edge/commands/publishing/exported.ts'
import { storeRegistry } from '../edge/commands/publishing/registry.ts'
import { launch, presentAsGpu } from '../test/support/browser.ts'
import { type FaultyProxy, type ProxiedRequest, startProxy } from '../test/support/proxy.ts'

const command = new Command('npm run bench:bytes --')
  .description('Counts the bytes that a first visit transfers, for each backend that a browser can use.')
  .argument('<folder>', 'an exported model, or a run folder that contains export/')
  .addHelpText(
    'after',
    `
An empty page in a real Chromium imports the module from workerd and loads the model: once with each of the two WebGPU
builds (in software), and once with WebAssembly. A proxy counts the bytes of the response bodies as they are transferred,
with compression.

Example:
  npm run bench:bytes -- runs/shapes`,
  )
  .action(main)

/** The backends, each with a script that makes the browser choose it. */
const backends = [
  { name: 'WebGPU, promise integration', webgpu: true, script: '' },
  { name: 'WebGPU, asyncify', webgpu: true, script: 'delete WebAssembly.Suspending' },
  { name: 'WebAssembly', webgpu: false, script: '' },
] as const

async function main(folder: string): Promise<void> {
  const { manifest, files } = await readExported(folder)
  const workFolder = await mkdtemp(join(tmpdir(), 'ddpm-bytes-'))
  try {
    const { publicFolder, runtimeFiles } = await buildSite()
    const bucket = await openLocalBucket(workFolder)
    await uploadRuntimeFiles(storageTarget(bucket.storage), runtimeFiles)
    const registry = storeRegistry(bucket.storage, 'locally', bucket.close)
    const { version } = await registry.begin(manifest, formatManifest(manifest))
    for (const file of files) await registry.send(file, () => {})
    await registry.commit(manifest.name, version, [])
    await bucket.close()
    const serving = await serveOnWorkerd({ port: 0, persistTo: workFolder, publicFolder, quiet: true })
    const proxy = await startProxy(serving.url)
    try {
      console.log(`| first visit, kB | ${parts.join(' | ')} | total | requests |`)
      console.log(`|${' --- |'.repeat(parts.length + 3)}`)
      for (const backend of backends)
        console.log(row(backend.name, await visit(backend, proxy, manifest), manifest))
    } finally {
      await proxy.close()
      await serving.stop()
    }
  } finally {
    await rm(workFolder, { recursive: true, force: true })
  }
}

async function visit(
  { webgpu, script }: (typeof backends)[number],
  proxy: FaultyProxy,
  { name }: Manifest,
): Promise<ProxiedRequest[]> {
  const browser = await launch({ webgpu })
  try {
    const context = await browser.newContext({ serviceWorkers: 'block' })
    if (webgpu) await presentAsGpu(context)
    if (script) await context.addInitScript(script)
    const from = proxy.requests.length
    await loadOn(context, proxy.url, name)
    return proxy.requests.slice(from).filter(({ path }) => path !== '/blank')
  } finally {
    await browser.close()
  }
}

/** Loads a model from an empty page of the server. */
async function loadOn(context: BrowserContext, url: string, name: string): Promise<void> {
  const page = await context.newPage()
  await page.route('**/blank', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }),
  )
  await page.goto(`${url}/blank`)
  const failure = await page.evaluate(async (name) => {
    const path = '/sampler.js'
    const { load } = (await import(path)) as typeof import('../edge/sampler/browser.ts')
    // Before the stage 'prepare' all files have been downloaded. The session itself does not matter here.
    return new Promise<string | null>((resolve) => {
      const onProgress = ({ stage }: { stage: string }) => {
        if (stage === 'prepare') setTimeout(() => resolve(null), 5000)
      }
      load(name, { onProgress }).then(
        () => resolve(null),
        (error) => resolve(error.message),
      )
    })
  }, name)
  if (failure !== null) throw new UserError(`Cannot load the model: ${failure}`)
}

const parts = ['module and worker', 'onnxruntime', 'model'] as const

function row(name: string, requests: readonly ProxiedRequest[], { files }: Manifest): string {
  const hashes = new Set(files.map(({ sha256 }) => `/files/${sha256}`))
  const partOf = ({ path }: ProxiedRequest): (typeof parts)[number] => {
    if (hashes.has(path) || path.startsWith('/api/')) return 'model'
    return path.startsWith('/files/') || path.startsWith('/ort-') ? 'onnxruntime' : 'module and worker'
  }
  const totalBytes = (some: readonly ProxiedRequest[]) => some.reduce((sum, { bytes }) => sum + bytes, 0)
  const cells = [
    ...parts.map((part) => totalBytes(requests.filter((request) => partOf(request) === part))),
    totalBytes(requests),
  ].map((count) => Math.round(count / 1000).toLocaleString('en'))
  return `| ${[name, ...cells, requests.length].join(' | ')} |`
}

await runCommand(command)
