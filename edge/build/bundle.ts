// Used by `site.ts` and `package.ts`: bundles the sampler's modules, its workers and other entry points.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { type BuildOptions, build, type Plugin } from 'esbuild'
import type { Runtime } from '../sampler/worker/runtime.ts'

const edge = fileURLToPath(new URL('..', import.meta.url))
export const samplerFolder = join(edge, 'sampler')
export const studioFolder = join(edge, 'studio')
const { version } = JSON.parse(readFileSync(join(samplerFolder, 'package.json'), 'utf8'))
/** Defines the constant with the package's version, for esbuild. */
export const versionDefine = { VERSION: JSON.stringify(version) }
const ortFolder = dirname(fileURLToPath(import.meta.resolve('onnxruntime-web/wasm')))

/** Builds of onnxruntime-web, one worker for each: name of the build → base name of its .wasm and .mjs files. */
export const ortBuilds = {
  webgpu: 'ort-wasm-simd-threaded.asyncify',
  jspi: 'ort-wasm-simd-threaded.jspi',
  wasm: 'ort-wasm-simd-threaded',
} as const

/** A WebAssembly file of onnxruntime-web, which the server serves under its hash. */
export interface RuntimeFile {
  readonly path: string
  readonly sha256: string
  readonly bytes: number
  readonly mediaType: string
}

/** Writes a file of the build. `name` is its path in the output folder. */
export type WriteFile = (name: string, contents: Uint8Array) => Promise<void>

/**
 * Bundles the sampler module and its custom element.
 * @returns the names of the written files
 */
export async function bundleSampler(write: WriteFile): Promise<string[]> {
  await bundle(write, { entryPoints: { sampler: join(samplerFolder, 'browser.ts') } })
  await bundle(write, {
    entryPoints: { 'diffusion-canvas': join(samplerFolder, 'element.ts') },
    plugins: [externalSampler()],
  })
  return ['sampler.js', 'diffusion-canvas.js']
}

/**
 * Where workers find onnxruntime's WebAssembly:
 * - 'store': in the model store, which serves it as `files/<sha256>`
 * - 'static': in a file `files/<sha256>` of the site, compressed with gzip
 * - 'package': in a file `ort-<build>.bin` next to the worker, compressed with gzip
 */
export type RuntimeLocation = 'store' | 'static' | 'package'

/**
 * Bundles a worker for each build of onnxruntime-web, with the JavaScript that starts its WebAssembly and threads. Also
 * writes the WebAssembly, except for the location 'store'.
 * @returns the names of the written scripts, the WebAssembly files, and what the worker of each build downloads
 */
export async function bundleWorkers(
  write: WriteFile,
  location: RuntimeLocation,
): Promise<{ scripts: string[]; runtimeFiles: RuntimeFile[]; downloads: Record<string, Download> }> {
  const bundleWorker = async ([name, baseName]: [string, string]) => {
    const file = await readRuntimeFile(`${baseName}.wasm`)
    const purpose = `onnxruntime ${name}`
    const download = await placeWasm(write, location, name, file)
    const runtime: Runtime = {
      wasm: { ...download, purpose },
      unpackedSha256: file.sha256,
      folder: location === 'package' ? null : 'files',
      packed: location !== 'store',
    }
    const mjs = `ort-${name}.mjs`
    await write(mjs, await readFile(file.path.replace(/wasm$/, 'mjs')))
    await bundle(write, {
      entryPoints: { [`worker-${name}`]: join(samplerFolder, 'worker/worker.ts') },
      alias: { 'onnxruntime-web': `onnxruntime-web/${name}` },
      conditions: ['onnxruntime-web-use-extern-wasm'],
      define: { ONNXRUNTIME: JSON.stringify(runtime) },
    })
    return { name, file, download, scripts: [`worker-${name}.js`, mjs] }
  }
  const workers = await Promise.all(Object.entries(ortBuilds).map(bundleWorker))
  return {
    scripts: workers.flatMap(({ scripts }) => scripts),
    runtimeFiles: workers.map(({ file }) => file),
    downloads: Object.fromEntries(workers.map(({ name, download }) => [name, download])),
  }
}

async function readRuntimeFile(name: string): Promise<RuntimeFile> {
  const path = join(ortFolder, name)
  const contents = await readFile(path)
  return { path, sha256: sha256Of(contents), bytes: contents.length, mediaType: 'application/wasm' }
}

/** A file as a worker downloads it. */
interface Download {
  readonly sha256: string
  readonly bytes: number
  readonly wireBytes?: number
}

/** Share of its bytes that onnxruntime's WebAssembly has when it is compressed. */
const compressedShare = 0.26

/** Writes the WebAssembly to its location. Returns the properties of the file to download. */
async function placeWasm(
  write: WriteFile,
  location: RuntimeLocation,
  name: string,
  { path, sha256, bytes }: RuntimeFile,
): Promise<Download> {
  if (location === 'store') return { sha256, bytes, wireBytes: Math.round(bytes * compressedShare) }
  const packed = await promisify(gzip)(await readFile(path), { level: 9 })
  const packedSha256 = sha256Of(packed)
  // Not named .gz: some servers would decompress such a file, and others would refuse to serve it.
  await write(location === 'static' ? `files/${packedSha256}` : `ort-${name}.bin`, packed)
  return { sha256: packedSha256, bytes: packed.length }
}

function sha256Of(contents: Uint8Array): string {
  return createHash('sha256').update(contents).digest('hex')
}

/**
 * Creates a plugin that excludes the sampler from a bundle: pages and the element import the public module instead.
 * @param path of the sampler module, relative to the bundle
 */
export function externalSampler(path = './sampler.js'): Plugin {
  return {
    name: 'external-sampler',
    setup: ({ onResolve }) =>
      onResolve({ filter: /^ddpm-sampler$|\/browser\.ts$/ }, () => ({ path, external: true })),
  }
}

/** Bundles entry points with esbuild and writes the result. */
export async function bundle(write: WriteFile, { define = {}, ...options }: BuildOptions): Promise<void> {
  const { outputFiles } = await build({
    // esbuild resolves the aliases from this folder.
    absWorkingDir: edge,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    outdir: edge,
    write: false,
    logLevel: 'warning',
    define: { ...versionDefine, ...define },
    ...options,
  })
  for (const { path, contents } of outputFiles ?? []) await write(relative(edge, path), contents)
}

/**
 * Creates a writer for an output folder. It writes only files that have changed. Each write is atomic: a server that
 * serves the folder never sends an incomplete file.
 */
export function writeInto(folder: string): WriteFile {
  return async (name, contents) => {
    const path = join(folder, name)
    const unchanged = await readFile(path).then(
      (current) => current.equals(contents),
      () => false,
    )
    if (unchanged) return
    await mkdir(dirname(path), { recursive: true })
    const part = `${path}.${process.pid}.part`
    await writeFile(part, contents)
    await rename(part, path)
  }
}
