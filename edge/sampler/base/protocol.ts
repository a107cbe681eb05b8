import type { GenerateOptions, Manifest, ManifestFile, PredictOptions } from '@ddpm/shared'
import type { Failure } from './errors.ts'

/** Where the network runs. */
export type Device = 'webgpu' | 'wasm'

/** What the module asks of its worker. */
export type Request =
  | ({ readonly type: 'load' } & Loading)
  | ({ readonly type: 'sample'; readonly id: number } & SampleTask)
  | { readonly type: 'predict'; readonly id: number; readonly options: PredictOptions }
  | { readonly type: 'abort'; readonly id: number }

export interface Loading {
  /** Of the server that holds the model's files. */
  readonly server: string
  readonly manifest: Manifest
  /** Which of the manifest's files is run. */
  readonly graph: ManifestFile
  readonly device: Device
  readonly threads: number
  /** How many pictures the network is given at once at first. */
  readonly atOnce: number
  /** Whether files must be kept (true), may not (false), or are where there is room (null). */
  readonly cache: boolean | null
}

export interface SampleTask {
  /** The part of the options that can be posted. */
  readonly options: Omit<GenerateOptions, 'isDue' | 'onStep' | 'signal'>
  readonly previewEvery: PreviewEvery
}

/** A preview every so many steps; 'auto': as often as is worth looking at; 0: none. */
export type PreviewEvery = number | 'auto'

/** What the worker tells. */
export type Reply =
  | { readonly type: 'progress'; readonly progress: LoadProgress }
  | { readonly type: 'loaded' }
  | { readonly type: 'steps'; readonly id: number; readonly steps: readonly Step[] }
  | { readonly type: 'done'; readonly id: number; readonly values: readonly Float32Array<ArrayBuffer>[] }
  | { readonly type: 'failed'; readonly id: number | null; readonly failure: Failure }

/** How far loading is: bytes of everything that this browser does not have yet, then the session's own start. */
export type LoadProgress =
  | {
      readonly stage: 'download'
      readonly loaded: number
      readonly total: number
      /** null as long as nobody knows. */
      readonly secondsLeft: number | null
    }
  | { readonly stage: 'prepare' }
  /** It goes on another way: a smaller batch, another device, without keeping the files. May come while drawing. */
  | { readonly stage: 'fallback'; readonly reason: string }

export interface Step {
  /** Index of the step just done, and how many there are. */
  readonly step: number
  readonly steps: number
  /** The timestep it was done at. */
  readonly t: number
  readonly secondsLeft: number | null
  /** x_t after the step and the x_0 predicted in it, as RGBA [count, height, width, 4]; null where none is due. */
  readonly preview: {
    readonly x: Uint8ClampedArray<ArrayBuffer>
    readonly x0: Uint8ClampedArray<ArrayBuffer>
  } | null
}
