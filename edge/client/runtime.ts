import type { HashedFile } from './store.ts'

/** The files of the onnxruntime-web build that a worker is bundled with, at `/files/<sha256>` on the server. */
export interface Runtime {
  readonly wasm: HashedFile
  /** JavaScript glue, which is also what its threads start from. */
  readonly mjs: { readonly sha256: string }
}

declare const ONNXRUNTIME: Runtime

/** Filled in by `edge/build.ts`. */
export const runtime = ONNXRUNTIME
