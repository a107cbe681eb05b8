import { cacheInfo, detect, type Manifest } from 'ddpm-sampler'

interface Download {
  readonly sha256: string
  readonly bytes: number
}

/** The WebAssembly of each build of onnxruntime-web. Defined by `edge/build/`. */
declare const RUNTIMES: { readonly [build in 'webgpu' | 'jspi' | 'wasm']: Download }

/**
 * Returns the number of bytes that loading a model downloads on this device, as the server sends them. Files in this
 * browser's cache are not counted.
 * @param root folder of the studio, relative to the page
 */
export async function downloadSize({ files }: Manifest, root = './'): Promise<number> {
  const [{ device, jspi }, cache] = await Promise.all([detect(), cacheInfo()])
  const build = device === 'wasm' ? 'wasm' : jspi ? 'jspi' : 'webgpu'
  // `load` prefers half precision, too.
  const graph = files.find(({ role }) => role === 'graph-fp16') ?? files.find(({ role }) => role === 'graph')!
  const missing = [graph, RUNTIMES[build]].filter(
    ({ sha256 }) => !cache.files.some((file) => file.sha256 === sha256),
  )
  const sizes = await Promise.all(missing.map((file) => sizeOnTheWire(file, root)))
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** Asks the server for the size of a file, which may be compressed. If it does not say, returns the size of the file. */
async function sizeOnTheWire({ sha256, bytes }: Download, root: string): Promise<number> {
  const response = await fetch(`${root}files/${sha256}`, { method: 'HEAD' }).catch(() => null)
  const length = response?.ok ? Number(response.headers.get('Content-Length')) : 0
  return length > 0 ? length : bytes
}
