// Entry point of the worker: loads one model, then executes the page's tasks one after the other.
// network.ts opens the session; sampling.ts runs a sampling task.
import { type Manifest, predict, Suspension } from '@ddpm/shared'
import { SamplerError, toFailure } from '../base/errors.ts'
import type { LoadProgress, LoadTask, Reply, Request, Step } from '../base/protocol.ts'
import { version } from '../base/version.ts'
import { compileFromHttpCache } from '../download/compiled.ts'
import { readShared, share } from '../download/cross-origin-storage.ts'
import { fetchFiles } from '../download/files.ts'
import { configureRuntime, type OpenNetwork, openNetwork } from './network.ts'
import { locateWasm, runtime, unpack } from './runtime.ts'
import { runSampleTask } from './sampling.ts'

let loaded: OpenNetwork & { readonly manifest: Manifest; readonly maxRuns: number | null }
/** Tasks run one at a time, because a session does not support parallel runs. */
let queue: Promise<void> = Promise.resolve()
/** Abort controllers of queued and running tasks, by request id. */
const controllers = new Map<number, AbortController>()

self.onmessage = ({ data }: MessageEvent<Request>) => {
  switch (data.type) {
    case 'load':
      load(data).then(
        () => post({ type: 'loaded' }),
        (error) => post({ type: 'failed', id: null, failure: toFailure(error) }),
      )
      break
    case 'sample':
      enqueue(data.id, async (signal) => {
        const { manifest, loop } = loaded
        const report = createStepReporter(data.id)
        const values = await runSampleTask(manifest, loop, data, report, signal, isExhausted)
        return [new Float32Array(values)]
      })
      break
    case 'predict':
      enqueue(data.id, async () => {
        if (isExhausted()) throw new Suspension(null)
        const { x0, epsilon } = await predict(loaded.manifest, loaded.network, data.options)
        return [new Float32Array(x0), new Float32Array(epsilon)]
      })
      break
    case 'abort':
      controllers.get(data.id)?.abort()
  }
}

/** Returns whether the worker has used its number of forward passes. */
function isExhausted(): boolean {
  return loaded.maxRuns !== null && loaded.runs() >= loaded.maxRuns
}

function post(reply: Reply, transfer: Transferable[] = []): void {
  self.postMessage(reply, { transfer })
}

async function load(task: LoadTask): Promise<void> {
  checkVersion(task)
  const { manifest, graph, device, threads, batchSize, maxRuns, cache } = task
  const onProgress = (progress: LoadProgress) => post({ type: 'progress', progress })
  const wasmFile = locateWasm(task.runtime, cache === false ? null : self.location.origin)
  const findCompiled = async () =>
    wasmFile.inHttpCache ? compileFromHttpCache(wasmFile.url, wasmFile.sha256) : null
  // Searched before the download, which may then be unnecessary, and after it, because it fills the HTTP cache.
  const compiled = await findCompiled()
  const shared = compiled || cache === false ? null : await readShared(runtime.unpackedSha256)
  const [model, wasm] = await fetchFiles(compiled || shared ? [graph] : [graph, wasmFile], {
    cache,
    onProgress,
    onUncached: (reason) => onProgress({ stage: 'fallback', reason }),
  })
  onProgress({ stage: 'prepare' })
  const unpacked = shared ?? (wasm ? await unpack(wasm) : null)
  if (wasm && cache !== false) share(runtime.unpackedSha256, unpacked!)
  configureRuntime(compiled ?? (await findCompiled()) ?? unpacked!, task.runtime.mjs)
  loaded = { manifest, maxRuns, ...(await openNetwork(model!, manifest, { device, threads, batchSize })) }
}

/** @throws SamplerError 'bad-option' if module and worker come from different versions of the package */
function checkVersion(task: LoadTask): void {
  if (task.version === version) return
  throw new SamplerError(
    'bad-option',
    `The worker's version is ${version}, but the module's version is ${task.version}. Copy the files worker-* and ort-* ` +
      'from the installed package to the folder of the bundle, or to that of the option "runtime".',
  )
}

function enqueue(id: number, task: (signal: AbortSignal) => Promise<Float32Array<ArrayBuffer>[]>): void {
  const controller = new AbortController()
  controllers.set(id, controller)
  queue = queue.then(async () => {
    try {
      const values = await task(controller.signal)
      post(
        { type: 'done', id, values },
        values.map(({ buffer }) => buffer),
      )
    } catch (error) {
      if (error instanceof Suspension) post({ type: 'suspended', id, state: error.state })
      else post({ type: 'failed', id, failure: toFailure(error) })
    } finally {
      controllers.delete(id)
    }
  })
}

/** Max time between two messages with steps, in milliseconds. */
const reportInterval = 50
/**
 * Min time between two yields, in milliseconds. An "abort" message is handled only during a yield. Yielding after every
 * step would make sampling 3 % slower.
 */
const yieldInterval = 100
let lastYield = 0

/**
 * Creates a function that posts steps to the page. It collects steps without a preview and posts several at once,
 * because every message uses CPU time that the network needs.
 */
function createStepReporter(id: number): (step: Step) => Promise<void> {
  let collected: Step[] = []
  let lastReport = performance.now()
  return async (step) => {
    collected.push(step)
    const now = performance.now()
    const isLast = step.step === step.steps - 1
    if (step.preview || isLast || now - lastReport >= reportInterval) {
      post({ type: 'steps', id, steps: collected }, collected.flatMap(previewBuffers))
      collected = []
      lastReport = now
    }
    if (now - lastYield < yieldInterval) return
    await yieldToMessages()
    lastYield = performance.now()
  }
}

function previewBuffers({ preview }: Step): Transferable[] {
  return preview ? [preview.x.buffer, preview.x0.buffer] : []
}

const { port1, port2 } = new MessageChannel()
const waiting: (() => void)[] = []
port1.onmessage = () => waiting.shift()!()

/** Lets the worker handle messages. On WebAssembly, sampling would otherwise block "abort" until it is finished. */
function yieldToMessages(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve)
    port2.postMessage(null)
  })
}
