import type { GenerateOptions, Manifest } from '@ddpm/shared'

/** Where the network runs. */
export type Device = 'webgpu' | 'wasm'

/** What the module asks of its worker. */
export type Request =
  | {
      readonly type: 'load'
      /** Of the server that holds the model's files. */
      readonly origin: string
      readonly manifest: Manifest
      readonly device: Device
      readonly threads: number
    }
  | { readonly type: 'sample'; readonly id: number; readonly options: Drawing }
  | { readonly type: 'abort'; readonly id: number }

/** The part of the options that can be posted. */
export type Drawing = Omit<GenerateOptions, 'onStep' | 'signal'>

/** What the worker tells. */
export type Reply =
  | { readonly type: 'progress'; readonly progress: LoadProgress }
  | { readonly type: 'loaded' }
  | { readonly type: 'step'; readonly id: number; readonly step: Step }
  | { readonly type: 'drawn'; readonly id: number; readonly values: Float32Array<ArrayBuffer> }
  | { readonly type: 'failed'; readonly id: number | null; readonly failure: Failure }

/** How far loading is: bytes of everything that this browser does not have yet, then the session's own start. */
export type LoadProgress =
  | { readonly stage: 'download'; readonly loaded: number; readonly total: number }
  | { readonly stage: 'prepare' }

export interface Step {
  readonly step: number
  readonly steps: number
  readonly t: number
  /** x after the step as RGBA, [count, height, width, 4]; null where the last pictures are still fresh. */
  readonly rgba: Uint8ClampedArray<ArrayBuffer> | null
}

export interface Failure {
  /** Of the session: the network does not run on this device, another may do. */
  readonly of: 'input' | 'session' | 'program'
  readonly message: string
}
