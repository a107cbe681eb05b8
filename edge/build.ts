import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build, type Plugin } from 'esbuild'
import type { Runtime } from './client/runtime.ts'

const client = fileURLToPath(new URL('client/', import.meta.url))
const publicFolder = fileURLToPath(new URL('dist/public/', import.meta.url))
const ortFolder = dirname(fileURLToPath(import.meta.resolve('onnxruntime-web/wasm')))

/** The builds of onnxruntime-web that a worker exists for, and the pair of files each fetches when it starts. */
const ortBuilds = {
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

/**
 * Bundles the browser's side into `edge/dist/public`: the page, the sampler module, its element and one worker for each build of
 * onnxruntime-web.
 *
 * onnxruntime's WebAssembly is up to 27 MB, above what Workers static assets take (25 MiB), so that it stays out of
 * that folder: `runtimeFiles` belong in the bucket beside the models, under the hashes that the workers are built with.
 */
export async function buildClient(): Promise<{ publicFolder: string; runtimeFiles: RuntimeFile[] }> {
  const runtimeFiles: RuntimeFile[] = []
  await bundle({ entryPoints: { sampler: join(client, 'sampler.ts') } })
  for (const name of ['page', 'diffusion-canvas']) {
    await bundle({ entryPoints: { [name]: join(client, `${name}.ts`) }, plugins: [publicSampler] })
  }
  for (const [name, files] of Object.entries(ortBuilds)) {
    const wasm = await runtimeFile(`${files}.wasm`, 'application/wasm')
    const mjs = await runtimeFile(`${files}.mjs`, 'text/javascript')
    runtimeFiles.push(wasm, mjs)
    const runtime: Runtime = {
      wasm: { sha256: wasm.sha256, bytes: wasm.bytes, purpose: `onnxruntime ${name}` },
      mjs: { sha256: mjs.sha256 },
    }
    await bundle({
      entryPoints: { [`worker-${name}`]: join(client, 'worker.ts') },
      alias: { 'onnxruntime-web': `onnxruntime-web/${name}` },
      conditions: ['onnxruntime-web-use-extern-wasm'],
      define: { ONNXRUNTIME: JSON.stringify(runtime) },
    })
  }
  const plain = ['index.html', 'style.css', 'icon.svg']
  for (const name of plain) await put(name, await readFile(join(client, name)))
  const modules = ['sampler.js', 'page.js', ...Object.keys(ortBuilds).map((name) => `worker-${name}.js`)]
  const glue = runtimeFiles.filter(({ mediaType }) => mediaType === 'text/javascript')
  await bundle({
    entryPoints: { offline: join(client, 'offline.ts') },
    define: { SHELL: JSON.stringify(await shellOf([...plain, ...modules], glue)) },
  })
  return { publicFolder, runtimeFiles }
}

/** What the service worker keeps: the paths, and a version that changes with what is there. */
async function shellOf(
  names: readonly string[],
  files: readonly RuntimeFile[],
): Promise<{ version: string; paths: string[] }> {
  const hash = createHash('sha256')
  for (const name of names) hash.update(await readFile(join(publicFolder, name)))
  for (const { sha256 } of files) hash.update(sha256)
  const paths = names.map((name) => (name === 'index.html' ? '/' : `/${name}`))
  const version = hash.digest('hex').slice(0, 16)
  return { version, paths: [...paths, ...files.map(({ sha256 }) => `/files/${sha256}`)] }
}

/** Page and element use the sampler as everyone does: by importing the public module. */
const publicSampler: Plugin = {
  name: 'public-sampler',
  setup: ({ onResolve }) =>
    onResolve({ filter: /\/sampler\.ts$/ }, () => ({ path: './sampler.js', external: true })),
}

async function bundle(options: BuildOptions): Promise<void> {
  const { outputFiles } = await build({
    // Aliases are resolved from there.
    absWorkingDir: client,
    bundle: true,
    format: 'esm',
    target: 'es2022',
    minify: true,
    outdir: publicFolder,
    write: false,
    logLevel: 'warning',
    ...options,
  })
  for (const { path, contents } of outputFiles ?? []) await put(relative(publicFolder, path), contents)
}

async function runtimeFile(name: string, mediaType: string): Promise<RuntimeFile> {
  const path = join(ortFolder, name)
  const contents = await readFile(path)
  const sha256 = createHash('sha256').update(contents).digest('hex')
  return { path, sha256, bytes: contents.length, mediaType }
}

/** Writes whole files only, and only changed ones: a server that watches the folder never sees half a build. */
async function put(name: string, contents: Uint8Array): Promise<void> {
  const path = join(publicFolder, name)
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

if (import.meta.main) {
  const { runtimeFiles } = await buildClient()
  console.log(`Built ${publicFolder}`)
  for (const { path, bytes, sha256 } of runtimeFiles)
    console.log(`${sha256}  ${(bytes / 1e6).toFixed(1)} MB  ${path}`)
}
