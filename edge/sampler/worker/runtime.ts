import { type HashedFile, purposeOf } from '../base/hashed-file.ts'
import type { RuntimeUrls } from '../base/protocol.ts'

/** The WebAssembly of the build of onnxruntime-web that a worker is bundled with. */
export interface Runtime {
  readonly wasm: Omit<HashedFile, 'url' | 'hasHashTag'>
  /** SHA-256 of the file without compression: the same for every site that uses this version of onnxruntime-web. */
  readonly unpackedSha256: string
  /**
   * Folder of the file, which is then named after its hash, relative to the worker's scripts. null: the module passes the
   * address of the file.
   */
  readonly folder: string | null
  /** Whether the file is compressed with gzip, for servers that do not compress. */
  readonly packed: boolean
}

declare const ONNXRUNTIME: Runtime

/** Defined by `edge/build/` when it bundles the worker. */
export const runtime = ONNXRUNTIME

/**
 * Locates the WebAssembly.
 * @param pageOrigin if the file has this origin, the browser's HTTP cache stores it too, for `compileFromHttpCache`.
 *   null: never
 */
export function locateWasm({ mjs, wasm }: RuntimeUrls, pageOrigin: string | null): HashedFile {
  const home = new URL('.', mjs).href.replace(/\/$/, '')
  const url = runtime.folder === null ? wasm : new URL(`${runtime.folder}/${runtime.wasm.sha256}`, mjs).href
  return {
    ...runtime.wasm,
    url,
    // The other addresses can be on any server.
    hasHashTag: runtime.folder !== null,
    inHttpCache: !runtime.packed && new URL(url).origin === pageOrigin,
    purpose: purposeOf(home, runtime.wasm.purpose),
  }
}

/** Decompresses the WebAssembly if it is compressed. */
export async function unpack(contents: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  if (!runtime.packed) return contents
  const stream = new Blob([contents]).stream().pipeThrough(new DecompressionStream('gzip'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}
