import {
  type GenerateOptions,
  type Manifest,
  type Plan,
  type PredictOptions as PredictTask,
  planFor,
  type SamplerOptions,
  type Suspension,
} from '@ddpm/shared'
import { SamplerError } from '../base/errors.ts'
import { encodeInit, encodeMask, type GeneratedImage, splitRgba, toGeneratedImages } from '../base/images.ts'
import type { Device, PreviewEvery, SampleTask, Step } from '../base/protocol.ts'
import type { DeviceChoice } from './device.ts'

/** A loaded model. */
export interface Model {
  readonly manifest: Manifest
  /** Device in use. Changes if a device fails and another one replaces it. */
  readonly device: Device
  /** Text for users: the device and why it was chosen, for example "WebAssembly, 4 threads: as requested". */
  readonly deviceReason: string
  /**
   * Generates images. Image i of a seed does not depend on the count, and is the same on every device except for
   * rounding.
   * Default: one image of a random seed, with the manifest's sampling settings.
   * @throws SamplerError 'bad-option', 'out-of-memory', 'device-lost' or 'disposed'; the signal's reason when aborted
   */
  sample(options?: SampleOptions): Promise<GeneratedImage[]>
  /**
   * Runs one forward pass on x_t = √ᾱ·x₀ + √(1−ᾱ)·ε.
   * @returns the predicted x̂₀ (without clamping) and ε̂, with the shape of x
   * @throws SamplerError as `sample`
   */
  predict(options: PredictOptions): Promise<{ x0: Float32Array; epsilon: Float32Array }>
  /** Returns the sampling plan that `sample` would follow: one row per forward pass. Generates nothing. */
  plan(options?: Partial<SamplerOptions>): Plan
  /** Stops the worker and frees its memory. Running calls fail with SamplerError 'disposed'. */
  dispose(): void
}

export interface SampleOptions
  extends Partial<
    Omit<
      GenerateOptions,
      'className' | 'init' | 'mask' | 'isDue' | 'onStep' | 'signal' | 'resume' | 'isSuspended'
    >
  > {
  /** Name of a class, or a word that several classes share. Default: null, a random class per image. */
  readonly class?: string | null
  /**
   * Start images of the model's size: one for all samples, one per sample, or values [count, channels, height, width]
   * in [−1, 1].
   */
  readonly init?: ImageData | readonly ImageData[] | Float32Array
  /** Area of `init` to generate: white pixels, or values 1 in [count, channels, height, width]. */
  readonly mask?: ImageData | Float32Array
  /** Number of steps between two previews. 'auto': about 20 previews per second; 0: none. Default: 'auto'. */
  readonly previewEvery?: PreviewEvery
  /** Called for every step. Calls for steps without a preview may be delayed and follow each other immediately. */
  readonly onStep?: (step: SampleStep) => void
  readonly signal?: AbortSignal
}

export interface SampleStep extends Omit<Step, 'preview'> {
  /** Current images x_t; null if no preview is due. */
  readonly x: ImageData[] | null
  /** Predicted x̂₀ of the step; null if no preview is due. */
  readonly x0: ImageData[] | null
}

export interface PredictOptions {
  /** x_t: values of one image [channels, height, width], or of several. */
  readonly x: Float32Array
  /** Timestep, from 0 to T−1. */
  readonly t: number
  readonly class?: string | null
  readonly signal?: AbortSignal
}

/** Executes tasks with a model: a worker in browsers, the process itself in Node. */
export interface Backend {
  /** @returns [count, channels, height, width] */
  sample(task: SampleTask, callbacks: TaskCallbacks): Promise<Float32Array>
  predict(
    task: PredictTask,
    callbacks: TaskCallbacks,
  ): Promise<{ readonly x0: Float32Array; readonly epsilon: Float32Array }>
  /** Stops the backend. Running tasks fail with the error, or are suspended. */
  stop(error: Error | Suspension): void
}

export interface TaskCallbacks {
  readonly onStep?: ((step: Step) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/** A backend with the settings it was started with. */
export interface RunningBackend {
  readonly backend: Backend
  readonly choice: DeviceChoice
  /** Max number of images per forward pass. */
  readonly batchSize: number
}

/**
 * Creates a model on top of a backend.
 * @param fallBack starts another backend after an error of the failed one, for a task of `count` images; returns null
 * if another backend cannot help
 */
export function createModel(
  manifest: Manifest,
  first: RunningBackend,
  fallBack: (failed: RunningBackend, error: unknown, count: number) => Promise<RunningBackend> | null,
): Model {
  const { shape } = manifest
  let current = first
  let next: Promise<RunningBackend> | null = null
  let disposed = false

  /** Runs a task. If the backend fails, repeats the task on the next one: the same seed gives the same images. */
  async function run<T>(count: number, task: (backend: Backend) => Promise<T>): Promise<T> {
    for (;;) {
      if (disposed) throw new SamplerError('disposed', 'This model was disposed. Load it again.')
      const used = current
      try {
        return await task(used.backend)
      } catch (error) {
        if (used === current) {
          next ??= disposed ? null : fallBack(used, error, count)
          if (!next) throw error
          try {
            const started = await next
            current = started
          } finally {
            next = null
          }
          if (disposed) current.backend.stop(new SamplerError('disposed', 'The model was disposed.'))
        }
      }
    }
  }

  async function sample({ onStep, signal, ...options }: SampleOptions = {}): Promise<GeneratedImage[]> {
    signal?.throwIfAborted()
    const task = createTask(options, manifest, onStep !== undefined)
    const { count, seed, first = 0 } = task.options
    const values = await run(count, (backend) =>
      backend.sample(task, {
        signal,
        onStep: ({ preview, ...step }) =>
          onStep?.({
            ...step,
            x: preview && splitRgba(preview.x, shape),
            x0: preview && splitRgba(preview.x0, shape),
          }),
      }),
    )
    return toGeneratedImages(values, shape, { seed, first })
  }

  async function predict({ x, t, class: className = null, signal }: PredictOptions) {
    signal?.throwIfAborted()
    const size = shape.channels * shape.height * shape.width
    return run(x.length / size, (backend) => backend.predict({ x, t, className }, { signal }))
  }

  return {
    manifest,
    get device() {
      return current.choice.device
    },
    get deviceReason() {
      return current.choice.reason
    },
    sample,
    predict,
    plan: (options) => planFor(manifest, options),
    dispose() {
      disposed = true
      current.backend.stop(new SamplerError('disposed', 'The model was disposed.'))
    },
  }
}

/** Converts public options to a task: encodes images, and chooses a random seed by default. */
function createTask(
  options: Omit<SampleOptions, 'onStep' | 'signal'>,
  { shape }: Manifest,
  hasListener: boolean,
): SampleTask {
  const { class: className = null, init, mask, previewEvery = 'auto', ...rest } = options
  const count = rest.count ?? 1
  const seed = rest.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!
  if (previewEvery !== 'auto' && !(Number.isInteger(previewEvery) && previewEvery >= 0)) {
    const expected = 'expected "auto", 0 for no previews, or a positive number of steps'
    throw new SamplerError('bad-option', `Invalid previewEvery ${previewEvery}: ${expected}.`)
  }
  const encoded = {
    ...rest,
    count,
    seed,
    className,
    ...(init && { init: encodeInit(init, shape, count) }),
    ...(mask && { mask: encodeMask(mask, shape, count) }),
  }
  return { options: encoded, previewEvery: hasListener ? previewEvery : 0 }
}
