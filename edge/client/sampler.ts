/**
 * Draws new pictures from a published diffusion model, on the visitor's own device.
 *
 * @example
 * ```js
 * import { load } from 'https://pictures.example/sampler.js'
 *
 * const model = await load('https://pictures.example/someone/shapes', { onProgress: console.log })
 * const pictures = await model.sample({ count: 4, seed: 1, steps: 20 })
 * document.querySelector('canvas').getContext('2d').putImageData(pictures[0].pixels, 0, 0)
 * model.dispose()
 * ```
 */
import {
  type GenerateOptions,
  type Manifest,
  modelName,
  parseManifest,
  toRgba,
  UserError,
} from '@ddpm/shared'
import { chooseDevice, type DeviceChoice, webAssembly } from './device.ts'
import { fetchOrExplain } from './files.ts'
import type { Device, Failure, LoadProgress, Reply, Request } from './protocol.ts'

export { type Manifest, samplers, sharedWords, timestepSpacings, UserError } from '@ddpm/shared'
export type { Device, LoadProgress } from './protocol.ts'

export interface LoadOptions {
  /** 'auto', the default: WebGPU where it works, WebAssembly otherwise. */
  readonly device?: 'auto' | Device
  readonly onProgress?: (progress: LoadProgress) => void
  readonly signal?: AbortSignal
}

export interface SampleOptions extends Partial<Omit<GenerateOptions, 'onStep' | 'signal'>> {
  /** Called after every step, while the drawing goes on. */
  readonly onStep?: (step: SampleStep) => void
  readonly signal?: AbortSignal
}

export interface SampleStep {
  /** Index of the step just done, and how many there are. */
  readonly step: number
  readonly steps: number
  /** The timestep it was done at, falling to 0. */
  readonly t: number
  /** The pictures as they are now; null where they were shown less than a twentieth of a second ago. */
  readonly pictures: ImageData[] | null
}

export interface Picture {
  readonly pixels: ImageData
  /** [channels, height, width], about [−1, 1]. */
  readonly values: Float32Array
  readonly seed: number
  /** Which picture of the seed. */
  readonly index: number
}

export interface Model {
  readonly manifest: Manifest
  readonly device: Device
  /** Which device and why, for people. */
  readonly deviceReason: string
  /**
   * Draws pictures. Picture i of a seed is the same on every device, but for rounding, and whatever the count.
   * Without options: one picture of a random seed, everything else as the manifest has it.
   * @throws UserError for impossible options or too little memory; the signal's reason when aborted
   */
  sample(options?: SampleOptions): Promise<Picture[]>
  /** Frees the worker with all its memory; drawings under way are given up. */
  dispose(): void
}

/** What a server's list says of a model. */
export type ModelSummary = Pick<
  Manifest,
  'name' | 'description' | 'shape' | 'classes' | 'licence' | 'training'
> & {
  /** SHA-256 of a grid of samples, at `/files/<sha256>`. */
  readonly preview: string | null
}

const home = new URL(import.meta.url)

/** The models of a server; this module's own unless told. */
export async function listModels(origin: string = home.origin): Promise<ModelSummary[]> {
  const response = await fetchOrExplain(`${origin}/api/models`)
  const { models } = (await response.json()) as { models: ModelSummary[] }
  return models
}

/** Which device `load` would choose here, and why. */
export async function detect(): Promise<{ device: Device; deviceReason: string }> {
  const { device, reason } = await chooseDevice('auto')
  return { device, deviceReason: reason }
}

/**
 * What is published about a model.
 * @param url as for `load`
 */
export async function loadManifest(url: string, signal?: AbortSignal): Promise<Manifest> {
  const { origin, name } = addressOf(url)
  const source = `${origin}/api/models/${name}`
  return parseManifest(await (await fetchOrExplain(source, signal)).text(), source)
}

/**
 * Downloads a model, or takes it from this browser's cache, and makes it ready to draw in a worker of its own.
 * @param url `https://host/owner/name`, or `owner/name` for the server that this module came from
 * @throws UserError when the model is unknown, the download fails or is not what its hash promises; the signal's
 * reason when aborted
 */
export async function load(
  url: string,
  { device = 'auto', onProgress, signal }: LoadOptions = {},
): Promise<Model> {
  const { origin } = addressOf(url)
  const manifest = await loadManifest(url, signal)
  const choice = await chooseDevice(device)
  const start = { origin, manifest, onProgress, signal }
  try {
    return modelOn(await startWorker(choice, start), manifest, choice)
  } catch (error) {
    if (!(error instanceof SessionError)) throw error
    const failed = `${choice.reason} could not run this model (${error.message})`
    if (device !== 'auto' || choice.device === 'wasm') throw new UserError(`${failed}.`)
    const second = webAssembly(failed)
    return modelOn(await startWorker(second, start), manifest, second)
  }
}

/** The network does not run on the device; another may do. */
class SessionError extends UserError {}

function addressOf(url: string): { origin: string; name: string } {
  const { origin, pathname } = new URL(url, home.origin)
  const name = pathname.slice(1)
  if (modelName.safeParse(name).success) return { origin, name }
  throw new UserError(`Found the model "${url}"; expected owner/name or https://host/owner/name.`)
}

interface WorkerStart {
  readonly origin: string
  readonly manifest: Manifest
  readonly onProgress: LoadOptions['onProgress']
  readonly signal: AbortSignal | undefined
}

function startWorker(
  { build, device, threads }: DeviceChoice,
  { origin, manifest, onProgress, signal }: WorkerStart,
): Promise<Worker> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const worker = openWorker(new URL(`worker-${build}.js`, home))
    const abort = () => fail(signal!.reason)
    const fail = (error: unknown) => {
      signal?.removeEventListener('abort', abort)
      worker.terminate()
      reject(error)
    }
    signal?.addEventListener('abort', abort, { once: true })
    worker.onerror = () =>
      fail(new UserError(`The worker script of ${home.origin} did not start. Reload the page.`))
    worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      if (data.type === 'progress') onProgress?.(data.progress)
      if (data.type === 'failed') fail(errorOf(data.failure))
      if (data.type === 'loaded') {
        signal?.removeEventListener('abort', abort)
        resolve(worker)
      }
    }
    worker.postMessage({ type: 'load', origin, manifest, device, threads } satisfies Request)
  })
}

/** A worker's script must be of the page's own origin; elsewhere a blob, which is, imports it. */
function openWorker(script: URL): Worker {
  if (script.origin === location.origin) return new Worker(script, { type: 'module' })
  const blob = new Blob([`import ${JSON.stringify(script.href)}`], { type: 'text/javascript' })
  return new Worker(URL.createObjectURL(blob), { type: 'module' })
}

function errorOf({ of, message }: Failure): Error {
  if (of === 'session') return new SessionError(message)
  return of === 'input' ? new UserError(message) : new Error(message)
}

/** What waits for the worker's answer to one `sample`. */
interface Pending {
  readonly onStep: (step: Extract<Reply, { type: 'step' }>['step']) => void
  readonly resolve: (values: Float32Array) => void
  readonly reject: (error: unknown) => void
}

function modelOn(worker: Worker, manifest: Manifest, { device, reason }: DeviceChoice): Model {
  const { height, width } = manifest.shape
  const pending = new Map<number, Pending>()
  let drawings = 0
  let disposed = false

  worker.onmessage = ({ data }: MessageEvent<Reply>) => {
    if (data.type === 'step') pending.get(data.id)?.onStep(data.step)
    if (data.type === 'drawn') pending.get(data.id)?.resolve(data.values)
    if (data.type === 'failed' && data.id !== null) pending.get(data.id)?.reject(errorOf(data.failure))
  }
  const giveUp = (message: string) => {
    disposed = true
    worker.terminate()
    for (const { reject } of pending.values()) reject(new UserError(message))
  }
  worker.onerror = ({ message }) => giveUp(`The worker stopped (${message}). Load the model again.`)

  async function sample({ onStep, signal, ...given }: SampleOptions = {}): Promise<Picture[]> {
    signal?.throwIfAborted()
    if (disposed) throw new UserError('This model was disposed of. Load it again.')
    const options = { ...given, count: given.count ?? 1, seed: given.seed ?? randomSeed() }
    const id = drawings++
    const post = (request: Request) => worker.postMessage(request)
    const abort = () => {
      post({ type: 'abort', id })
      pending.get(id)?.reject(signal!.reason)
    }
    signal?.addEventListener('abort', abort, { once: true })
    try {
      const values = await new Promise<Float32Array>((resolve, reject) => {
        pending.set(id, {
          onStep: ({ rgba, ...step }) => onStep?.({ ...step, pictures: rgba && split(rgba) }),
          resolve,
          reject,
        })
        post({ type: 'sample', id, options })
      })
      return picturesOf(values, options)
    } finally {
      pending.delete(id)
      signal?.removeEventListener('abort', abort)
    }
  }

  function split(rgba: Uint8ClampedArray<ArrayBuffer>): ImageData[] {
    const size = height * width * 4
    return Array.from(
      { length: rgba.length / size },
      (_, i) => new ImageData(rgba.subarray(i * size, (i + 1) * size), width, height),
    )
  }

  function picturesOf(
    values: Float32Array,
    { count, seed, first = 0 }: SampleOptions & { count: number; seed: number },
  ): Picture[] {
    const size = values.length / count
    return Array.from({ length: count }, (_, i) => ({
      pixels: new ImageData(toRgba(values, i, manifest.shape), width, height),
      values: values.subarray(i * size, (i + 1) * size),
      seed,
      index: first + i,
    }))
  }

  return {
    manifest,
    device,
    deviceReason: reason,
    sample,
    dispose: () => giveUp('The model was disposed of.'),
  }
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!
}
