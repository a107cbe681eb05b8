import { createHash } from 'node:crypto'
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
const ortFolder = dirname(fileURLToPath(import.meta.resolve('onnxruntime-web/wasm')))

/** The builds of onnxruntime-web that a worker exists for, and the WebAssembly and JavaScript each starts. */
export const ortBuilds = {
  webgpu: 'ort-wasm-simd-threaded.asyncify',
  jspi: 'ort-wasm-simd-threaded.jspi',
  wasm: 'ort-wasm-simd-threaded',
} as const

/** A file of onnxruntime-web that the server hands out under its hash. */
export interface RuntimeFile {
  readonly path: string
  readonly sha256: string
  readonly bytes: number
  readonly mediaType: string
}

/** The sampler module and its element. */
export async function bundleModules(put: Put): Promise<string[]> {
  await bundle(put, { entryPoints: { sampler: join(samplerFolder, 'browser.ts') } })
  await bundle(put, {
    entryPoints: { 'diffusion-canvas': join(samplerFolder, 'element.ts') },
    plugins: [publicSampler()],
  })
  return ['sampler.js', 'diffusion-canvas.js']
}

/**
 * For each build of onnxruntime-web a worker, and the JavaScript that starts this build and its threads.
 * @param packed whether the WebAssembly lies there too, as a .gz
 */
export async function bundleWorkers(
  put: Put,
  packed: boolean,
): Promise<{ modules: string[]; runtimeFiles: RuntimeFile[] }> {
  const modules: string[] = []
  const runtimeFiles: RuntimeFile[] = []
  for (const [name, files] of Object.entries(ortBuilds)) {
    const file = await runtimeFile(`${files}.wasm`)
    const { sha256, bytes } = packed ? await pack(put, file) : file
    const wasm = { sha256, bytes, purpose: `onnxruntime ${name}` }
    const runtime: Runtime = { wasm, mjs: `ort-${name}.mjs`, packed }
    await put(runtime.mjs, await readFile(file.path.replace(/wasm$/, 'mjs')))
    await bundle(put, {
      entryPoints: { [`worker-${name}`]: join(samplerFolder, 'worker/worker.ts') },
      alias: { 'onnxruntime-web': `onnxruntime-web/${name}` },
      conditions: ['onnxruntime-web-use-extern-wasm'],
      define: { ONNXRUNTIME: JSON.stringify(runtime) },
    })
    runtimeFiles.push(file)
    modules.push(`worker-${name}.js`, runtime.mjs)
  }
  return { modules, runtimeFiles }
}

async function pack(put: Put, { path }: RuntimeFile): Promise<{ sha256: string; bytes: number }> {
  const packed = await promisify(gzip)(await readFile(path), { level: 9 })
  const sha256 = sha256Of(packed)
  await put(`files/${sha256}`, packed)
  return { sha256, bytes: packed.length }
}

/** Pages and element use the sampler as everyone does: by importing the public module, which lies at `path` from them. */
export function publicSampler(path = './sampler.js'): Plugin {
  return {
    name: 'public-sampler',
    setup: ({ onResolve }) =>
      onResolve({ filter: /^ddpm-sampler$|\/browser\.ts$/ }, () => ({ path, external: true })),
  }
}

export async function bundle(put: Put, options: BuildOptions): Promise<void> {
  const { outputFiles } = await build({
    // Aliases are resolved from there.
    absWorkingDir: edge,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    outdir: edge,
    write: false,
    logLevel: 'warning',
    ...options,
  })
  for (const { path, contents } of outputFiles ?? []) await put(relative(edge, path), contents)
}

async function runtimeFile(name: string): Promise<RuntimeFile> {
  const path = join(ortFolder, name)
  const contents = await readFile(path)
  return { path, sha256: sha256Of(contents), bytes: contents.length, mediaType: 'application/wasm' }
}

export function sha256Of(contents: Uint8Array): string {
  return createHash('sha256').update(contents).digest('hex')
}

export type Put = (name: string, contents: Uint8Array) => Promise<void>

/** Writes whole files only, and only changed ones: a server that watches the folder never sees half a build. */
export function putInto(folder: string): Put {
  return async (name, contents) => {
    const path = join(folder, name)
    const same = await readFile(path).then(
      (present) => present.equals(contents),
      () => false,
    )
    if (same) return
    await mkdir(dirname(path), { recursive: true })
    const part = `${path}.${process.pid}.part`
    await writeFile(part, contents)
    await rename(part, path)
  }
}
