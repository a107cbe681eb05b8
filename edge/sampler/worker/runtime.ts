import type { HashedFile } from '../download/hashed-file.ts'

/** The build of onnxruntime-web that a worker is bundled with. */
export interface Runtime {
  /** WebAssembly, at `files/<sha256>` of the model's server. */
  readonly wasm: HashedFile
  /** JavaScript file next to the worker that starts the WebAssembly and its threads. */
  readonly mjs: string
  /** Whether the WebAssembly is a .gz file, for servers that do not compress. */
  readonly packed: boolean
}

declare const ONNXRUNTIME: Runtime

/** Defined by `edge/build/` when it bundles the worker. */
export const runtime = ONNXRUNTIME
