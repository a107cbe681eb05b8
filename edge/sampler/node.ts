/**
 * The sampler in Node: the same models, options and pictures, with onnxruntime-web's WebAssembly in this process.
 *
 * @example
 * ```js
 * import { load } from 'ddpm-sampler/node'
 *
 * const model = await load('https://pictures.example/someone/shapes')
 * const [picture] = await model.sample({ seed: 7 })
 * ```
 */

import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { graphFile, type Manifest, parseManifest, predict } from '@ddpm/shared'
import { imagesAtOnce } from './base/batches.ts'
import { createClock } from './base/clock.ts'
import { errorOf, failureOf, SamplerError } from './base/errors.ts'
import type { LoadProgress, Step } from './base/protocol.ts'
import { fetchFiles } from './download/files.ts'
import { addressOf, loadManifest } from './model/catalogue.ts'
import { createModel, type Model } from './model/model.ts'
import type { Calls, Remote } from './model/remote.ts'
import { type Opened, openNetwork } from './worker/network.ts'
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
export type { GeneratedImage as Image } from './base/images.ts'
export type { LoadProgress, PreviewEvery } from './base/protocol.ts'
export { listModels, loadManifest, type ModelSummary } from './model/catalogue.ts'
export type { Model, PredictOptions, SampleOptions, SampleStep } from './model/model.ts'

export interface LoadOptions {
  /** Of WebAssembly; as many as there are cores, up to 4, unless told. */
  readonly threads?: number
  readonly onProgress?: (progress: LoadProgress) => void
  readonly signal?: AbortSignal
}

/**
 * Makes a model ready to draw in this process. Nothing is kept between runs: who wants that, loads a folder.
 * @param source `https://host/owner/name`, or a folder with manifest.json and what it names
 * @throws SamplerError as in browsers; UserError where the folder's manifest is none
 */
export async function load(
  source: string,
  { threads = Math.min(availableParallelism(), 4), onProgress = () => {}, signal }: LoadOptions = {},
): Promise<Model> {
  const { manifest, graph } = /^https?:/.test(source)
    ? await download(source, onProgress, signal)
    : await readFolder(source)
  onProgress({ stage: 'prepare' })
  const atOnce = imagesAtOnce(manifest.shape)
  const opened = await openNetwork(graph, manifest, { device: 'wasm', threads, atOnce })
  signal?.throwIfAborted()
  const reason = `WebAssembly in Node, ${threads} ${threads === 1 ? 'thread' : 'threads'}`
  const choice = { device: 'wasm', build: 'wasm', threads, reason } as const
  return createModel(manifest, { remote: here(manifest, opened), choice, atOnce }, () => null)
}

interface Loaded {
  readonly manifest: Manifest
  readonly graph: Uint8Array
}

async function download(
  url: string,
  onProgress: (progress: LoadProgress) => void,
  signal?: AbortSignal,
): Promise<Loaded> {
  const manifest = await loadManifest(url, signal)
  const secondsLeft = createClock()
  const [graph] = await fetchFiles(addressOf(url).server, [{ ...graphFile(manifest), purpose: url }], {
    cache: false,
    onProgress: (loaded, total) =>
      onProgress({ stage: 'download', loaded, total, secondsLeft: secondsLeft(loaded, total) }),
    onUnkept: () => {},
  })
  signal?.throwIfAborted()
  return { manifest, graph: graph! }
}

async function readFolder(folder: string): Promise<Loaded> {
  const path = join(folder, 'manifest.json')
  const text = await readFile(path, 'utf8').catch(() => {
    const expected =
      'expected https://host/owner/name or the folder of an exported model, with its manifest.json'
    throw new SamplerError('not-found', `Found the model "${folder}"; ${expected}.`)
  })
  const manifest = parseManifest(text, path)
  return { manifest, graph: await readFile(join(folder, graphFile(manifest).path)) }
}

/** What a worker does in browsers, here: one task at a time, for a session cannot run twice at once. */
function here(manifest: Manifest, { network, loop }: Opened): Remote {
  let queue: Promise<unknown> = Promise.resolve()
  let ended: Error | null = null
  const enqueue = <T>(task: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> => {
    const result = queue.then(async () => {
      if (ended) throw ended
      try {
        return await task()
      } catch (error) {
        throw signal?.aborted ? error : errorOf(failureOf(error))
      }
    })
    queue = result.catch(() => {})
    return result
  }
  return {
    sample(drawing, { onStep, signal = new AbortController().signal }: Calls) {
      const tell = async (step: Step) => {
        onStep?.(step)
        // Without it a whole drawing is one task, and nothing else can happen, to abort it for one.
        await setImmediate()
        if (ended) throw ended
      }
      return enqueue(() => runSampleTask(manifest, loop, drawing, tell, signal), signal)
    },
    predict: (options, { signal }) => enqueue(() => predict(manifest, network, options), signal),
    end(error) {
      ended = error
    },
  }
}
