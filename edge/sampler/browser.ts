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
import { type Dtype, graphFile, halfGraphFile, type Manifest, type ManifestFile } from '@ddpm/shared'
import { imagesAtOnce } from './base/batches.ts'
import { SamplerError } from './base/errors.ts'
import type { Device, LoadProgress } from './base/protocol.ts'
import { purgeCached, purposeOf } from './download/store.ts'
import { addressOf, loadManifest } from './model/catalogue.ts'
import { chooseDevice, type DeviceChoice, webAssembly } from './model/device.ts'
import { createModel, type Model, type Running } from './model/model.ts'
import { startRemote } from './model/remote.ts'

export {
  classOf,
  type Dtype,
  fromRgba,
  type Manifest,
  type Plan,
  planFor,
  samplers,
  sharedWords,
  slerp,
  startNoise,
  timestepSpacings,
  toRgba,
  UserError,
} from '@ddpm/shared'
export { SamplerError, type SamplerErrorCode } from './base/errors.ts'
export type { GeneratedImage as Image } from './base/images.ts'
export type { Device, LoadProgress, PreviewEvery } from './base/protocol.ts'
export { type CacheInfo, cacheInfo } from './download/store.ts'
export { listModels, loadManifest, type ModelSummary } from './model/catalogue.ts'
export { type Detected, detect } from './model/device.ts'
export type { Model, PredictOptions, SampleOptions, SampleStep } from './model/model.ts'

export interface LoadOptions {
  /** 'auto', the default: WebGPU where it works, WebAssembly otherwise. */
  readonly device?: 'auto' | Device
  /**
   * How the weights are stored that are downloaded; arithmetic is in float32 either way. 'auto', the default: half
   * precision where the model was exported with it, half the bytes for pictures that differ by about 1/255.
   */
  readonly dtype?: 'auto' | Dtype
  /** true: fails where the browser has no room to keep the files; false: keeps none. By default kept where there is room. */
  readonly cache?: boolean
  /** Also told later, when a device fails and another takes over. */
  readonly onProgress?: (progress: LoadProgress) => void
  readonly signal?: AbortSignal
}

/**
 * Downloads a model, or takes it from this browser's cache, and makes it ready to draw in a worker of its own.
 * @param url `https://host/owner/name`, or `owner/name` for the server that this module came from
 * @throws SamplerError when the model is unknown, the download fails or is not what its hash promises; the signal's
 * reason when aborted
 */
export async function load(
  url: string,
  { device = 'auto', dtype = 'auto', cache, onProgress = () => {}, signal }: LoadOptions = {},
): Promise<Model> {
  const { server } = addressOf(url)
  const manifest = await loadManifest(url, signal)
  const graph = graphOf(manifest, dtype)
  const most = imagesAtOnce(manifest.shape, (navigator as { deviceMemory?: number }).deviceMemory)
  const start = async (choice: DeviceChoice, atOnce = most, until?: AbortSignal): Promise<Running> => {
    const { device, threads } = choice
    const loading = { server, manifest, graph, device, threads, atOnce, cache: cache ?? null }
    const remote = await startRemote(scripts[choice.build](), loading, onProgress, until)
    return { choice, remote, atOnce }
  }
  /** WebAssembly instead, where the error is the device's and the caller left the choice to us. */
  const second = (failed: DeviceChoice, error: unknown): DeviceChoice | null => {
    if (device !== 'auto' || failed.device === 'wasm' || !isOfDevice(error)) return null
    const reason = `${failed.reason} could not run this model (${(error as Error).message})`
    onProgress({ stage: 'fallback', reason: `${reason}; WebAssembly takes over.` })
    return webAssembly(reason)
  }
  const choice = await chooseDevice(device)
  const first = await start(choice, most, signal).catch((error) => {
    const other = second(choice, error)
    if (other) return start(other, most, signal)
    throw error
  })
  return createModel(manifest, first, (failed, error, count) => {
    const tried = Math.min(failed.atOnce, count)
    if (error instanceof SamplerError && error.code === 'out-of-memory' && tried > 1) {
      const atOnce = Math.ceil(tried / 2)
      const reason = `Memory does not suffice for ${tried} pictures: the network is given ${atOnce} at a time.`
      onProgress({ stage: 'fallback', reason })
      // A new worker: where memory ran out once, a session does not give back what it holds.
      failed.remote.end(error)
      return start(failed.choice, atOnce)
    }
    const other = second(failed.choice, error)
    if (!other) return null
    failed.remote.end(error as Error)
    return start(other)
  })
}

/**
 * Throws away what this browser keeps: of one model (its address as for `load`), or everything of this origin.
 * A model that is loaded goes on, and what the browser's own cache has of onnxruntime is that cache's own affair.
 */
export async function purge(url?: string): Promise<void> {
  if (url === undefined) return purgeCached()
  const { server, name } = addressOf(url)
  await purgeCached(purposeOf(server, name))
}

// Written out, so that bundlers see which files belong to the module.
const scripts: { [B in DeviceChoice['build']]: () => URL } = {
  webgpu: () => new URL('./worker-webgpu.js', import.meta.url),
  jspi: () => new URL('./worker-jspi.js', import.meta.url),
  wasm: () => new URL('./worker-wasm.js', import.meta.url),
}

function graphOf(manifest: Manifest, dtype: 'auto' | Dtype): ManifestFile {
  const half = halfGraphFile(manifest)
  if (dtype === 'fp16' && half === null) {
    throw new SamplerError(
      'bad-option',
      `Found the dtype "fp16", but ${manifest.name} was exported without it. Choose "auto" or "fp32".`,
    )
  }
  return dtype === 'fp32' ? graphFile(manifest) : (half ?? graphFile(manifest))
}

/** Another device may do better. */
function isOfDevice(error: unknown): boolean {
  const codes = ['unsupported', 'device-lost', 'out-of-memory']
  return error instanceof SamplerError && codes.includes(error.code)
}
