/**
 * Generates images with a published diffusion model, on the visitor's own device.
 *
 * @example
 * ```js
 * import { load } from 'https://ddpm.example/sampler.js'
 *
 * const model = await load('https://ddpm.example/someone/shapes', { onProgress: console.log })
 * const images = await model.sample({ count: 4, seed: 1, steps: 20 })
 * document.querySelector('canvas').getContext('2d').putImageData(images[0].pixels, 0, 0)
 * model.dispose()
 * ```
 */

// From a click to pixels:
//
// load()
//   1. model/catalogue.ts fetches the manifest, unless the caller has it already.
//   2. model/device.ts chooses WebGPU or WebAssembly.
//   3. model/worker-client.ts starts the worker of that build and posts the load task.
//   4. worker/worker.ts gets the model and onnxruntime's WebAssembly through download/files.ts: from the cache
//      (download/cache.ts) or from their servers (download/download.ts). model/runtime-files.ts locates the WebAssembly.
//   5. worker/network.ts opens an onnxruntime session and runs it once.
//
// model.sample()
//   1. model/model.ts converts the options to a task; model/worker-client.ts posts it.
//   2. worker/worker.ts queues the task; worker/sampling.ts runs it with `generateWith` of @ddpm/shared.
//   3. The sampling loop is gpu/loop.ts with gpu/row.ts on WebGPU, and the loop of @ddpm/shared on WebAssembly.
//   4. Steps and results return as messages; model/model.ts converts them to ImageData.
//
// If a device fails, `load` provides another backend, and model/model.ts repeats the task there.
import { type Dtype, graphFile, halfGraphFile, type Manifest, type ManifestFile } from '@ddpm/shared'
import { estimateBatchSize } from './base/batches.ts'
import { SamplerError } from './base/errors.ts'
import type { Device, LoadProgress } from './base/protocol.ts'
import { version } from './base/version.ts'
import { purgeCache } from './download/cache.ts'
import { parseModelUrl } from './model/address.ts'
import { findModel } from './model/catalogue.ts'
import { chooseDevice, type DeviceChoice, webAssembly } from './model/device.ts'
import { createModel, type Model, type RunningBackend } from './model/model.ts'
import { createRecyclingBackend, maxRunsOf } from './model/recycling.ts'
import { locateRuntime } from './model/runtime-files.ts'
import { startWorker, WorkerUnavailable } from './model/worker-client.ts'

export {
  classOf,
  classWords,
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
export type { GeneratedImage } from './base/images.ts'
export type { Device, LoadProgress, PreviewEvery } from './base/protocol.ts'
export { type CacheInfo, cacheInfo } from './download/cache.ts'
export { listModels, loadManifest, type ModelSummary } from './model/catalogue.ts'
export { type DeviceSupport, detect } from './model/device.ts'
export type { Model, PredictOptions, SampleOptions, SampleStep } from './model/model.ts'

export interface LoadOptions {
  /** Device to run the model. Default: 'auto', WebGPU if available, or else WebAssembly. */
  readonly device?: 'auto' | Device
  /**
   * Format of the downloaded weights; the arithmetic is float32 in both cases. Default: 'auto', half precision if the
   * model was exported with it: half the download size, for images that differ by about 1/255.
   */
  readonly dtype?: 'auto' | Dtype
  /** true: fail if the browser has no room to cache the files; false: do not cache. Default: cache if there is room. */
  readonly cache?: boolean
  /** Manifest of the model, if the caller has fetched it with `loadManifest`. Default: `load` fetches it. */
  readonly manifest?: Manifest
  /**
   * Address of a folder with copies of this package's files `worker-*.js` and `ort-*`: workers and onnxruntime's
   * WebAssembly. Default: next to this module or, if a bundler did not copy them there, the model's server.
   */
  readonly runtime?: string
  /** Called during loading, and later if a device fails and another one replaces it. */
  readonly onProgress?: (progress: LoadProgress) => void
  readonly signal?: AbortSignal
}

/**
 * Loads a model into a worker. Its files come from this browser's cache or from the model's server.
 * @param url `https://host/owner/name`, `owner/name` on the server of this module, or `hf:owner/name` on the Hugging Face hub
 * @throws SamplerError for an unknown model, a failed download or a wrong file; the signal's reason when aborted
 */
export async function load(
  url: string,
  {
    device = 'auto',
    dtype = 'auto',
    cache,
    manifest: known,
    runtime,
    onProgress = () => {},
    signal,
  }: LoadOptions = {},
): Promise<Model> {
  const address = parseModelUrl(url)
  const { manifest, file } = await findModel(address, { manifest: known, signal })
  const graph = file(selectGraph(manifest, dtype))
  const { deviceMemory } = navigator as { deviceMemory?: number }
  const initialBatchSize = estimateBatchSize(manifest.shape, deviceMemory)
  /** Folder of the workers. undefined: next to this module */
  let folder = runtime
  const start = async (
    choice: DeviceChoice,
    batchSize = initialBatchSize,
    abort?: AbortSignal,
  ): Promise<RunningBackend> => {
    const { device, threads, build } = choice
    const task = {
      version,
      manifest,
      graph,
      device,
      threads,
      batchSize,
      maxRuns: device === 'webgpu' ? maxRunsOf(navigator) : null,
      cache: cache ?? null,
    }
    const startFrom = (source: string | undefined, signal?: AbortSignal) => {
      const { worker, ...urls } = locateRuntime(build, source)
      return startWorker(worker, { ...task, runtime: urls }, onProgress, signal)
    }
    const first = await startFrom(folder, abort).catch((error) => {
      // A bundler that does not copy the workers leaves their addresses unchanged.
      if (!(error instanceof WorkerUnavailable) || folder !== undefined || address.server === null)
        throw error
      folder = address.server
      return startFrom(folder, abort)
    })
    const backend = createRecyclingBackend(first, () => startFrom(folder))
    return { backend, choice, batchSize }
  }
  /** Returns WebAssembly if the device caused the error and the caller did not request that device. */
  const replaceDevice = (failed: DeviceChoice, error: unknown): DeviceChoice | null => {
    if (device !== 'auto' || failed.device === 'wasm' || !isDeviceError(error)) return null
    const reason = `${failed.reason} could not run this model (${(error as Error).message})`
    onProgress({ stage: 'fallback', reason: `${reason}. Continuing with WebAssembly.` })
    return webAssembly(reason)
  }
  const choice = await chooseDevice(device)
  const first = await start(choice, initialBatchSize, signal).catch((error) => {
    const replacement = replaceDevice(choice, error)
    if (replacement) return start(replacement, initialBatchSize, signal)
    throw error
  })
  return createModel(manifest, first, (failed, error, count) => {
    const failedSize = Math.min(failed.batchSize, count)
    if (error instanceof SamplerError && error.code === 'out-of-memory' && failedSize > 1) {
      const batchSize = Math.ceil(failedSize / 2)
      const reason = `Not enough memory for ${failedSize} images at once. Continuing with batches of ${batchSize}.`
      onProgress({ stage: 'fallback', reason })
      // Start a new worker: after running out of memory, a session does not release what it has allocated.
      failed.backend.stop(error)
      return start(failed.choice, batchSize)
    }
    const replacement = replaceDevice(failed.choice, error)
    if (!replacement) return null
    failed.backend.stop(error as Error)
    return start(replacement)
  })
}

/**
 * Deletes cached files of a model, or of the page's whole origin. Loaded models stay usable. The browser's HTTP cache,
 * which may also have onnxruntime's files, is not affected.
 * @param url address of the model as for `load`. Default: delete everything.
 */
export async function purge(url?: string): Promise<void> {
  if (url === undefined) return purgeCache()
  await purgeCache(parseModelUrl(url).purpose)
}

function selectGraph(manifest: Manifest, dtype: 'auto' | Dtype): ManifestFile {
  const half = halfGraphFile(manifest)
  if (dtype === 'fp16' && half === null) {
    throw new SamplerError(
      'bad-option',
      `Invalid dtype "fp16": ${manifest.name} was exported without half-precision weights. Choose "auto" or "fp32".`,
    )
  }
  return dtype === 'fp32' ? graphFile(manifest) : (half ?? graphFile(manifest))
}

/** Returns whether another device may succeed. */
function isDeviceError(error: unknown): boolean {
  const codes = ['unsupported', 'device-lost', 'out-of-memory']
  return error instanceof SamplerError && codes.includes(error.code)
}
