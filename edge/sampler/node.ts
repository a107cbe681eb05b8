/**
 * The sampler for Node: the same models, options and images. onnxruntime-web's WebAssembly runs in this process.
 *
 * @example
 * ```js
 * import { load } from 'ddpm-sampler/node'
 *
 * const model = await load('https://ddpm.example/someone/shapes')
 * const [image] = await model.sample({ seed: 7 })
 * ```
 */

import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { graphFile, type Manifest, parseManifest, predict } from '@ddpm/shared'
import { estimateBatchSize } from './base/batches.ts'
import { fromFailure, SamplerError, toFailure } from './base/errors.ts'
import type { LoadProgress, Step } from './base/protocol.ts'
import { fetchFiles } from './download/files.ts'
import { parseModelUrl } from './model/address.ts'
import { findModel } from './model/catalogue.ts'
import { type Backend, createModel, type Model } from './model/model.ts'
import { configureRuntime, type OpenNetwork, openNetwork } from './worker/network.ts'
import { runSampleTask } from './worker/sampling.ts'

export {
  type Manifest,
  type Plan,
  samplers,
  sharedWords,
  slerp,
  startNoise,
  timestepSpacings,
  UserError,
} from '@ddpm/shared'
export { SamplerError, type SamplerErrorCode } from './base/errors.ts'
export type { GeneratedImage } from './base/images.ts'
export type { LoadProgress, PreviewEvery } from './base/protocol.ts'
export { listModels, loadManifest, type ModelSummary } from './model/catalogue.ts'
export type { Model, PredictOptions, SampleOptions, SampleStep } from './model/model.ts'

export interface LoadOptions {
  /** Number of WebAssembly threads. Default: the number of cores, at most 4. */
  readonly threads?: number
  readonly onProgress?: (progress: LoadProgress) => void
  readonly signal?: AbortSignal
}

/**
 * Loads a model into this process. Downloads are not cached between runs; load a folder to avoid them.
 * @param source `https://host/owner/name`, `hf:owner/name` on the Hugging Face hub (or the one in HF_ENDPOINT), or the
 *   folder of an exported model with its manifest.json
 * @throws SamplerError as in browsers; UserError for an invalid manifest; the signal's reason when aborted
 */
export async function load(
  source: string,
  { threads = Math.min(availableParallelism(), 4), onProgress = () => {}, signal }: LoadOptions = {},
): Promise<Model> {
  const { manifest, graph } = /^(https?|hf):/.test(source)
    ? await download(source, onProgress, signal)
    : await readFolder(source)
  onProgress({ stage: 'prepare' })
  const batchSize = estimateBatchSize(manifest.shape)
  await useBundledRuntime()
  const opened = await openNetwork(graph, manifest, { device: 'wasm', threads, batchSize })
  signal?.throwIfAborted()
  const reason = `WebAssembly in Node, ${threads} ${threads === 1 ? 'thread' : 'threads'}`
  const choice = { device: 'wasm', build: 'wasm', threads, reason } as const
  const backend = createProcessBackend(manifest, opened)
  return createModel(manifest, { backend, choice, batchSize }, () => null)
}

/** Defined by `edge/build/` when it bundles the npm package, which contains onnxruntime's WebAssembly. */
declare const BUNDLED: true | undefined

/** Configures onnxruntime to load its WebAssembly from the npm package. In the repository, it is in node_modules. */
async function useBundledRuntime(): Promise<void> {
  if (typeof BUNDLED === 'undefined') return
  const packed = await readFile(new URL('./ort-wasm.bin', import.meta.url))
  const wasm = new Uint8Array(await promisify(gunzip)(packed))
  configureRuntime(wasm, new URL('./ort-wasm.mjs', import.meta.url).href)
}

interface ModelFiles {
  readonly manifest: Manifest
  readonly graph: Uint8Array
}

async function download(
  url: string,
  onProgress: (progress: LoadProgress) => void,
  signal?: AbortSignal,
): Promise<ModelFiles> {
  const { manifest, file } = await findModel(parseModelUrl(url, process.env['HF_ENDPOINT']), { signal })
  const [graph] = await fetchFiles([file(graphFile(manifest))], {
    cache: false,
    onProgress,
    onUncached: () => {},
  })
  signal?.throwIfAborted()
  return { manifest, graph: graph! }
}

async function readFolder(folder: string): Promise<ModelFiles> {
  const path = join(folder, 'manifest.json')
  const text = await readFile(path, 'utf8').catch(() => {
    const expected = 'expected https://host/owner/name, hf:owner/name, or the folder of an exported model'
    throw new SamplerError('not-found', `Unknown model "${folder}": ${expected}. ${path} cannot be read.`)
  })
  const manifest = parseManifest(text, path)
  return { manifest, graph: await readFile(join(folder, graphFile(manifest).path)) }
}

/** Creates a backend that runs tasks in this process, one at a time: a session does not support parallel runs. */
function createProcessBackend(manifest: Manifest, { network, loop }: OpenNetwork): Backend {
  let queue: Promise<unknown> = Promise.resolve()
  let stopped: Parameters<Backend['stop']>[0] | null = null
  const enqueue = <T>(task: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> => {
    const result = queue.then(async () => {
      if (stopped) throw stopped
      try {
        return await task()
      } catch (error) {
        throw signal?.aborted ? error : fromFailure(toFailure(error))
      }
    })
    queue = result.catch(() => {})
    return result
  }
  return {
    sample(task, { onStep, signal = new AbortController().signal }) {
      const report = async (step: Step) => {
        onStep?.(step)
        // Yields to the event loop: sampling would otherwise block it until the end, and could not be aborted.
        await setImmediate()
        if (stopped) throw stopped
      }
      return enqueue(() => runSampleTask(manifest, loop, task, report, signal), signal)
    },
    predict: (task, { signal }) => enqueue(() => predict(manifest, network, task), signal),
    stop(error) {
      stopped = error
    },
  }
}
