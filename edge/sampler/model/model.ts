import { type GenerateOptions, type Manifest, type Plan, planFor, type SamplerOptions } from '@ddpm/shared'
import { SamplerError } from '../base/errors.ts'
import { type GeneratedImage, imagesOf, maskOf, split, valuesOf } from '../base/images.ts'
import type { Device, PreviewEvery, SampleTask, Step } from '../base/protocol.ts'
import type { DeviceChoice } from './device.ts'
import type { Remote } from './remote.ts'

export interface SampleOptions
  extends Partial<Omit<GenerateOptions, 'className' | 'init' | 'mask' | 'isDue' | 'onStep' | 'signal'>> {
  /** A class, or a word that several have in common; null, the default: any, by the seed. */
  readonly class?: string | null
  /** Pictures to start from, of the model's size: one for all, one for each, or [count, channels, height, width]. */
  readonly init?: ImageData | readonly ImageData[] | Float32Array
  /** Where `init` is drawn anew: white, or 1 of [count, channels, height, width]. */
  readonly mask?: ImageData | Float32Array
  /** A preview every so many steps; 'auto', the default: about 20 a second; 0: none. */
  readonly previewEvery?: PreviewEvery
  /** Called for every step, while the drawing goes on; steps without a preview may be told several at once. */
  readonly onStep?: (step: SampleStep) => void
  readonly signal?: AbortSignal
}

export interface SampleStep extends Omit<Step, 'preview'> {
  /** The pictures as they are now, x_t, and what the step took them to become, x_0; both null between previews. */
  readonly x: ImageData[] | null
  readonly x0: ImageData[] | null
}

export interface PredictOptions {
  /** x_t: [channels, height, width], or several of them. */
  readonly x: Float32Array
  /** Timestep, 0 … T−1. */
  readonly t: number
  readonly class?: string | null
  readonly signal?: AbortSignal
}

export interface Model {
  readonly manifest: Manifest
  /** May change when a device fails. */
  readonly device: Device
  /** Which device and why, for people. */
  readonly deviceReason: string
  /**
   * Draws pictures. Picture i of a seed is the same on every device, but for rounding, and whatever the count.
   * Without options: one picture of a random seed, everything else as the manifest has it.
   * @throws SamplerError for impossible options, too little memory or a lost device; the signal's reason when aborted
   */
  sample(options?: SampleOptions): Promise<GeneratedImage[]>
  /**
   * Asks the network once what it sees in x_t = √ᾱ·x_0 + √(1−ᾱ)·ε: x_0 and ε, unclamped, as x.
   * @throws SamplerError as `sample`
   */
  predict(options: PredictOptions): Promise<{ x0: Float32Array; epsilon: Float32Array }>
  /** The table that `sample` would follow, one row per step: nothing is drawn. */
  plan(options?: Partial<SamplerOptions>): Plan
  /** Frees the worker with all its memory; drawings under way are given up. */
  dispose(): void
}

/** A worker and the device it was started for. */
export interface Running {
  readonly remote: Remote
  readonly choice: DeviceChoice
  /** How many pictures its network is given at a time. */
  readonly atOnce: number
}

/**
 * @param first what it runs on
 * @param fallBack another one for so many pictures, where the error can be helped by one; null otherwise
 */
export function createModel(
  manifest: Manifest,
  first: Running,
  fallBack: (failed: Running, error: unknown, count: number) => Promise<Running> | null,
): Model {
  const { shape } = manifest
  let current = first
  let next: Promise<Running> | null = null
  let disposed = false

  /** Does the work, on the next device where one fails: the same seed draws the same there. */
  async function onDevice<T>(count: number, work: (remote: Remote) => Promise<T>): Promise<T> {
    for (;;) {
      if (disposed) throw new SamplerError('disposed', 'This model was disposed of. Load it again.')
      const used = current
      try {
        return await work(used.remote)
      } catch (error) {
        if (used === current) {
          next ??= disposed ? null : fallBack(used, error, count)
          if (!next) throw error
          try {
            const found = await next
            current = found
          } finally {
            next = null
          }
          if (disposed) current.remote.end(new SamplerError('disposed', 'The model was disposed of.'))
        }
      }
    }
  }

  async function sample({ onStep, signal, ...given }: SampleOptions = {}): Promise<GeneratedImage[]> {
    signal?.throwIfAborted()
    const drawing = drawingOf(given, manifest, onStep !== undefined)
    const { seed, first = 0 } = drawing.options
    const values = await onDevice(drawing.options.count, (remote) =>
      remote.sample(drawing, {
        signal,
        onStep: ({ preview, ...step }) =>
          onStep?.({
            ...step,
            x: preview && split(preview.x, shape),
            x0: preview && split(preview.x0, shape),
          }),
      }),
    )
    return imagesOf(values, shape, { seed, first })
  }

  async function predict({ x, t, class: className = null, signal }: PredictOptions) {
    signal?.throwIfAborted()
    const size = shape.channels * shape.height * shape.width
    return onDevice(x.length / size, (remote) => remote.predict({ x, t, className }, { signal }))
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
      current.remote.end(new SamplerError('disposed', 'The model was disposed of.'))
    },
  }
}

function drawingOf(
  given: Omit<SampleOptions, 'onStep' | 'signal'>,
  { shape }: Manifest,
  watched: boolean,
): SampleTask {
  const { class: className = null, init, mask, previewEvery = 'auto', ...rest } = given
  const count = rest.count ?? 1
  const seed = rest.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!
  if (previewEvery !== 'auto' && !(Number.isInteger(previewEvery) && previewEvery >= 0)) {
    const found = `Found previewEvery ${previewEvery}`
    throw new SamplerError('bad-option', `${found}; expected a whole number of steps, 0 for none, or "auto".`)
  }
  const options = {
    ...rest,
    count,
    seed,
    className,
    ...(init && { init: valuesOf(init, shape, count) }),
    ...(mask && { mask: maskOf(mask, shape, count) }),
  }
  return { options, previewEvery: watched ? previewEvery : 0 }
}
