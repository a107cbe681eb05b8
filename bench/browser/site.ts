import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { formatManifest } from '@ddpm/shared'
import { build, type Plugin } from 'esbuild'
import { ortBuilds, samplerFolder, versionDefine } from '../../edge/build/bundle.ts'
import { buildSite } from '../../edge/build/site.ts'
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import type { RunningServer } from '../../edge/commands/hosting/workerd.ts'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { storeRegistry } from '../../edge/commands/publishing/registry.ts'
import type { Runtime } from '../../edge/sampler/worker/runtime.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import { storeRuntimeFiles } from '../../test/support/runtime.ts'

const here = dirname(fileURLToPath(import.meta.url))
const packageFolder = (name: string) => dirname(fileURLToPath(import.meta.resolve(name)))

/**
 * Serves the site on Node, with an additional page that runs the contenders. The module's workers are built as for
 * publishing, except that stopwatch.ts measures their onnxruntime.
 * @param networks folders written by `writeNetwork`. Each is served under /bench/, and its model is published.
 */
export async function openSite(folder: string, networks: readonly string[]): Promise<RunningServer> {
  const { publicFolder: built, runtimeFiles } = await buildSite()
  const publicFolder = join(folder, 'public')
  const bench = join(publicFolder, 'bench')
  await cp(built, publicFolder, { recursive: true })
  await mkdir(bench)
  await writeFile(
    join(bench, 'index.html'),
    '<!doctype html><title>bench:browser</title><script type="module" src="page.js"></script>',
  )
  const ortFolder = packageFolder('onnxruntime-web/wasm')
  await symlink(ortFolder, join(bench, 'ort'))
  await symlink(packageFolder('@tensorflow/tfjs-backend-wasm'), join(bench, 'tfjs'))
  await Promise.all(
    (['wasm', 'jspi'] as const).map(async (name) => {
      const file = runtimeFiles.find(({ path }) => path.endsWith(`/${ortBuilds[name]}.wasm`))!
      const { sha256, bytes } = file
      const runtime: Runtime = {
        wasm: { sha256, bytes, purpose: `onnxruntime ${name}` },
        unpackedSha256: sha256,
        folder: 'files',
        packed: false,
      }
      await bundle(publicFolder, `worker-${name}`, join(samplerFolder, 'worker/worker.ts'), {
        plugins: [withStopwatch(name)],
        conditions: ['onnxruntime-web-use-extern-wasm'],
        define: { ...versionDefine, ONNXRUNTIME: JSON.stringify(runtime) },
      })
      await bundle(bench, `onnx-${name}`, join(here, 'onnx.ts'), {
        alias: { 'onnxruntime-web': `onnxruntime-web/${name}` },
        conditions: ['onnxruntime-web-use-extern-wasm'],
      })
    }),
  )
  await bundle(bench, 'tfjs', join(here, 'tfjs.ts'))
  await bundle(bench, 'page', join(here, 'page.ts'))

  const storage = memoryStorage()
  await storeRuntimeFiles(storage, runtimeFiles)
  const registry = storeRegistry(storage, 'in memory', async () => {})
  for (const network of networks) {
    const { manifest, files } = await readExported(join(network, 'export'))
    const { version } = await registry.begin(manifest, formatManifest(manifest))
    for (const file of files) await registry.send(file, () => {})
    await registry.commit(manifest.name, version, [])
    await symlink(network, join(bench, manifest.name.split('/')[1]!))
  }
  return serveOnNode({ storage, publicFolder, port: 0, log: () => {} })
}

async function bundle(folder: string, name: string, entry: string, options = {}): Promise<void> {
  await build({
    bundle: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    logLevel: 'warning',
    entryPoints: { [name]: entry },
    outdir: folder,
    allowOverwrite: true,
    ...options,
  })
}

/** Returns a plugin that replaces onnxruntime-web by the stopwatch, which wraps one build of it. */
function withStopwatch(ortBuild: string): Plugin {
  const stopwatch = join(here, 'stopwatch.ts')
  return {
    name: 'stopwatch',
    setup({ onResolve, resolve }) {
      onResolve({ filter: /^onnxruntime-web$/ }, ({ importer, kind, resolveDir }) =>
        importer === stopwatch
          ? resolve(`onnxruntime-web/${ortBuild}`, { kind, resolveDir })
          : { path: stopwatch },
      )
    },
  }
}
