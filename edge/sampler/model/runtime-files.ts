import { SamplerError } from '../base/errors.ts'
import type { RuntimeUrls } from '../base/protocol.ts'

/** The builds of onnxruntime-web. Each has a worker script of its own. */
export type Build = 'webgpu' | 'jspi' | 'wasm'

/** Addresses of a worker script and of onnxruntime's files for it. */
export interface RuntimeFiles extends RuntimeUrls {
  readonly worker: string
}

type Names = { readonly [N in keyof RuntimeFiles]: URL }

// Each URL is a literal, because bundlers recognise only this form. They copy the file and insert its new address.
const nextToModule: { readonly [B in Build]: () => Names } = {
  webgpu: () => ({
    worker: new URL('./worker-webgpu.js', import.meta.url),
    mjs: new URL('./ort-webgpu.mjs', import.meta.url),
    wasm: new URL('./ort-webgpu.bin', import.meta.url),
  }),
  jspi: () => ({
    worker: new URL('./worker-jspi.js', import.meta.url),
    mjs: new URL('./ort-jspi.mjs', import.meta.url),
    wasm: new URL('./ort-jspi.bin', import.meta.url),
  }),
  wasm: () => ({
    worker: new URL('./worker-wasm.js', import.meta.url),
    mjs: new URL('./ort-wasm.mjs', import.meta.url),
    wasm: new URL('./ort-wasm.bin', import.meta.url),
  }),
}

/**
 * Returns the addresses of a build's files. They are absolute, because Turbopack's URLs are relative to the page.
 * @param folder address of a folder that has copies of the files. Default: next to this module.
 * @throws SamplerError 'bad-option' if the folder is not an address
 */
export function locateRuntime(build: Build, folder?: string): RuntimeFiles {
  const { worker, mjs, wasm } = folder === undefined ? nextToModule[build]() : filesIn(folder, build)
  const resolve = ({ href }: URL) => new URL(href, location.href).href
  return { worker: resolve(worker), mjs: resolve(mjs), wasm: resolve(wasm) }
}

function filesIn(folder: string, build: Build): Names {
  const base = `${folder.replace(/\/$/, '')}/`
  if (!URL.canParse(base, location.href)) {
    throw new SamplerError(
      'bad-option',
      `Invalid runtime "${folder}": expected the address of a folder with the files worker-*.js and ort-* of this package.`,
    )
  }
  const at = (name: string) => new URL(name, new URL(base, location.href))
  return { worker: at(`worker-${build}.js`), mjs: at(`ort-${build}.mjs`), wasm: at(`ort-${build}.bin`) }
}
