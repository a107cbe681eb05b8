import type { HashedFile } from '../download/store.ts'

/** The build of onnxruntime-web that a worker is bundled with. */
export interface Runtime {
  /** At `files/<sha256>` of the server that the model comes from. */
  readonly wasm: HashedFile
  /** JavaScript beside the worker that starts the WebAssembly, and its threads. */
  readonly mjs: string
  /** Whether the file is a .gz, for servers that do not compress. */
  readonly packed: boolean
}

declare const ONNXRUNTIME: Runtime

/** Filled in by `edge/build/`. */
export const runtime = ONNXRUNTIME
