import type { GenerateOptions, LoopState, Manifest, PredictOptions } from '@ddpm/shared'
import type { Failure } from './errors.ts'
import type { HashedFile } from './hashed-file.ts'

/** Device that runs the model: GPU or CPU. */
export type Device = 'webgpu' | 'wasm'

/** A message from the page to the worker. */
export type Request =
  | ({ readonly type: 'load' } & LoadTask)
  | ({ readonly type: 'sample'; readonly id: number } & SampleTask)
  | { readonly type: 'predict'; readonly id: number; readonly options: PredictOptions }
  | { readonly type: 'abort'; readonly id: number }

/** Addresses of onnxruntime's files. */
export interface RuntimeUrls {
  /** JavaScript that starts the WebAssembly and its threads. */
  readonly mjs: string
  /** WebAssembly, compressed with gzip. Not used by the module of a server, whose WebAssembly is in `files/`. */
  readonly wasm: string
}

/** Options for loading a model in a worker. */
export interface LoadTask {
  /** Version of the module. The worker must have the same one. */
  readonly version: string
  readonly runtime: RuntimeUrls
  readonly manifest: Manifest
  /** File of the manifest to run: float32 or half-precision weights. */
  readonly graph: HashedFile
  readonly device: Device
  /** Number of WebAssembly threads. */
  readonly threads: number
  /** Max number of images per forward pass. */
  readonly batchSize: number
  /** Number of forward passes after which the worker suspends its tasks; null: never. */
  readonly maxRuns: number | null
  /** Whether to cache files: always (true), never (false), or if there is room (null). */
  readonly cache: boolean | null
}

/** Options for generating images in a worker. */
export interface SampleTask {
  /** Sampling options that can be sent as a message: no functions, no signal. */
  readonly options: Omit<GenerateOptions, 'isDue' | 'onStep' | 'signal' | 'resume' | 'isSuspended'>
  readonly previewEvery: PreviewEvery
  /** State from which to resume the task after another worker suspended it. */
  readonly resume?: LoopState
}

/** Number of steps between two previews; 'auto': about 20 previews per second; 0: no previews. */
export type PreviewEvery = number | 'auto'

/** A message from the worker to the page. */
export type Reply =
  | { readonly type: 'progress'; readonly progress: LoadProgress }
  | { readonly type: 'loaded' }
  | { readonly type: 'steps'; readonly id: number; readonly steps: readonly Step[] }
  | { readonly type: 'done'; readonly id: number; readonly values: readonly Float32Array<ArrayBuffer>[] }
  | { readonly type: 'suspended'; readonly id: number; readonly state: LoopState | null }
  | { readonly type: 'failed'; readonly id: number | null; readonly failure: Failure }

/** Progress of loading a model: first the download, then the preparation of the session. */
export type LoadProgress =
  | DownloadProgress
  | { readonly stage: 'prepare' }
  /** Loading or sampling continues in another way: smaller batches, another device, or without the cache. */
  | { readonly stage: 'fallback'; readonly reason: string }

/** Progress over all files that are not in the cache yet. */
export interface DownloadProgress {
  readonly stage: 'download'
  /** Bytes received over the network: fewer than the files have if the server compresses them. */
  readonly loaded: number
  /** Bytes to receive over the network. Estimated until the server responds. */
  readonly total: number
  /** Estimated remaining time in seconds; null until it can be estimated. */
  readonly secondsLeft: number | null
}

/** Progress of one sampling step. */
export interface Step {
  /** Index of the finished step. */
  readonly step: number
  /** Number of steps. */
  readonly steps: number
  /** Timestep at which the model was evaluated. */
  readonly t: number
  /** Estimated remaining time in seconds; null until it can be estimated. */
  readonly secondsLeft: number | null
  /** x_t after the step and the predicted x̂₀, as RGBA [count, height, width, 4]; null if no preview is due. */
  readonly preview: {
    readonly x: Uint8ClampedArray<ArrayBuffer>
    readonly x0: Uint8ClampedArray<ArrayBuffer>
  } | null
}
