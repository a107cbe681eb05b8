// Builds the web site: the pages, the sampler module and its workers. `npm run dev`, `serve`, `deploy` and `static` call
// `buildClient`; started as a program, this file builds into `edge/dist/public`.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Plugin } from 'esbuild'
import {
  bundle,
  bundleSampler,
  bundleWorkers,
  externalSampler,
  type RuntimeFile,
  studioFolder,
  type WriteFile,
  writeInto,
} from './bundle.ts'

const defaultFolder = fileURLToPath(new URL('../dist/public/', import.meta.url))

/**
 * Scripts of the pages: output name → source below `edge/studio`, and the sampler module relative to the output. A script
 * that another one imports dynamically is loaded on demand.
 */
const pages = {
  page: { source: 'studio/page.ts', sampler: './sampler.js' },
  'explain/page': { source: 'explain/page.ts', sampler: '../sampler.js' },
  'explain/laboratory': { source: 'explain/laboratory/laboratory.ts', sampler: '../sampler.js' },
}

/** Style sheets: output name → source below `edge/studio`. */
const styles = { style: 'studio/style.css', 'explain/style': 'explain/style.css' }

/** Files that are copied unchanged: output path → source below `edge/studio`. */
const copied = {
  'index.html': 'studio/index.html',
  'icon.svg': 'icon.svg',
  '404/index.html': 'not-found.html',
  'explain/index.html': 'explain/index.html',
}

export interface SiteOptions {
  /** Output folder. Default: `edge/dist/public`. */
  readonly publicFolder?: string
  /**
   * Also writes onnxruntime's WebAssembly, as `files/<sha256>`, compressed with gzip. The workers decompress it. For
   * servers that serve plain files. Default: false.
   */
  readonly packed?: boolean
}

/**
 * Builds the web site into a folder.
 *
 * onnxruntime's WebAssembly is up to 27 MB, more than the 25 MiB that Workers static assets allow. It is therefore not
 * part of the folder: `runtimeFiles` belong in the model store, under the hashes that the workers load.
 */
export async function buildSite({
  publicFolder = defaultFolder,
  packed = false,
}: SiteOptions = {}): Promise<{ publicFolder: string; runtimeFiles: RuntimeFile[] }> {
  const write = writeInto(publicFolder)
  const { scripts, runtimeFiles, downloads } = await bundleWorkers(write, packed ? 'static' : 'store')
  scripts.push(...(await bundleSampler(write)))
  for (const [name, { source, sampler }] of Object.entries(pages)) {
    await bundle(write, {
      entryPoints: { [name]: join(studioFolder, source) },
      plugins: [externalSampler(sampler), externalScripts(name)],
      define: { RUNTIMES: JSON.stringify(downloads) },
    })
    scripts.push(`${name}.js`)
  }
  for (const [name, source] of Object.entries(styles)) {
    await bundle(write, { entryPoints: { [name]: join(studioFolder, source) } })
  }
  for (const [name, source] of Object.entries(copied)) {
    await write(name, await readFile(join(studioFolder, source)))
  }
  const styleSheets = Object.keys(styles).map((name) => `${name}.css`)
  // Last, because the service worker contains a hash of all other files.
  await bundleServiceWorker(write, publicFolder, [...Object.keys(copied), ...styleSheets, ...scripts])
  return { publicFolder, runtimeFiles }
}

/** Creates a plugin that excludes other scripts from the bundle of a script: dynamic imports load them. */
function externalScripts(importer: string): Plugin {
  return {
    name: 'external-scripts',
    setup: ({ onResolve }) =>
      onResolve({ filter: /\.ts$/ }, ({ kind, path, resolveDir }) => {
        if (kind !== 'dynamic-import') return
        const source = relative(studioFolder, join(resolveDir, path))
        const script = Object.entries(pages).find(([, page]) => page.source === source)
        return script && { path: `./${relative(dirname(importer), script[0])}.js`, external: true }
      }),
  }
}

/**
 * Bundles the service worker, which caches the site for offline use.
 * @param names of the files to cache
 */
async function bundleServiceWorker(
  write: WriteFile,
  publicFolder: string,
  names: readonly string[],
): Promise<void> {
  const hash = createHash('sha256')
  for (const name of names) hash.update(await readFile(join(publicFolder, name)))
  const shell = {
    version: hash.digest('hex').slice(0, 16),
    paths: names.map((name) => `./${name.replace(/(^|\/)index\.html$/, '$1')}`),
  }
  await bundle(write, {
    entryPoints: { offline: join(studioFolder, 'offline.ts') },
    define: { SHELL: JSON.stringify(shell) },
  })
}

if (import.meta.main) {
  const { publicFolder, runtimeFiles } = await buildSite()
  console.log(`Built ${publicFolder}`)
  for (const { path, bytes, sha256 } of runtimeFiles)
    console.log(`${sha256}  ${(bytes / 1e6).toFixed(1)} MB  ${path}`)
}
