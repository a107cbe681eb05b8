import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  bundle,
  bundleModules,
  bundleWorkers,
  publicSampler,
  putInto,
  type RuntimeFile,
  studioFolder,
} from './bundle.ts'

const defaultFolder = fileURLToPath(new URL('../dist/public/', import.meta.url))

export interface BuildOptions {
  readonly publicFolder?: string
  /**
   * onnxruntime's WebAssembly lies in the folder too, at `files/<sha256>`, as a .gz that the workers unpack: for
   * servers that hand out files as they are.
   */
  readonly packed?: boolean
}

/**
 * Bundles the browser's side into `edge/dist/public`: the page, the sampler module, its element, and for each build of
 * onnxruntime-web a worker and the JavaScript that starts it.
 *
 * onnxruntime's WebAssembly is up to 27 MB, above what Workers static assets take (25 MiB), so that it stays out of
 * that folder: `runtimeFiles` belong in the bucket beside the models, under the hashes that the workers are built with.
 */
export async function buildClient({
  publicFolder = defaultFolder,
  packed = false,
}: BuildOptions = {}): Promise<{ publicFolder: string; runtimeFiles: RuntimeFile[] }> {
  const put = putInto(publicFolder)
  const { modules, runtimeFiles } = await bundleWorkers(put, packed)
  modules.push(...(await bundleModules(put)))
  for (const [name, source, sampler] of [
    ['page', 'studio/page', './sampler.js'],
    ['explain/page', 'explain/page', '../sampler.js'],
  ] as const) {
    await bundle(put, {
      entryPoints: { [name]: join(studioFolder, `${source}.ts`) },
      plugins: [publicSampler(sampler)],
    })
    modules.push(`${name}.js`)
  }
  const styles = { 'style.css': 'studio/style.css', 'explain/style.css': 'explain/style.css' }
  for (const [name, source] of Object.entries(styles)) {
    await bundle(put, { entryPoints: { [name.replace('.css', '')]: join(studioFolder, source) } })
  }
  const plain = {
    'index.html': 'studio/index.html',
    'icon.svg': 'icon.svg',
    'explain/index.html': 'explain/index.html',
  }
  for (const [name, source] of Object.entries(plain))
    await put(name, await readFile(join(studioFolder, source)))
  await bundle(put, {
    entryPoints: { offline: join(studioFolder, 'offline.ts') },
    define: {
      SHELL: JSON.stringify(
        await shellOf(publicFolder, [...Object.keys(plain), ...Object.keys(styles), ...modules]),
      ),
    },
  })
  return { publicFolder, runtimeFiles }
}

/** What the service worker keeps: the paths beside it, and a version that changes with what is there. */
async function shellOf(
  publicFolder: string,
  names: readonly string[],
): Promise<{ version: string; paths: string[] }> {
  const hash = createHash('sha256')
  for (const name of names) hash.update(await readFile(join(publicFolder, name)))
  const paths = names.map((name) => `./${name.replace(/(^|\/)index\.html$/, '$1')}`)
  return { version: hash.digest('hex').slice(0, 16), paths }
}

if (import.meta.main) {
  const { publicFolder, runtimeFiles } = await buildClient()
  console.log(`Built ${publicFolder}`)
  for (const { path, bytes, sha256 } of runtimeFiles)
    console.log(`${sha256}  ${(bytes / 1e6).toFixed(1)} MB  ${path}`)
}
