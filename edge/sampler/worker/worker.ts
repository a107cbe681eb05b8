// The worker's messages: what the page asks, in order, and what it is told. How a session runs is in network.ts, what
// drawing is in drawing.ts.
import { type Manifest, predict } from '@ddpm/shared'
import { createClock } from '../base/clock.ts'
import { failureOf } from '../base/errors.ts'
import type { Loading, LoadProgress, Reply, Request, Step } from '../base/protocol.ts'
import { fetchFiles, urlOf } from '../download/files.ts'
import { compiledBefore, purposeOf } from '../download/store.ts'
import { type Opened, openNetwork, placeRuntime } from './network.ts'
import { runtime } from './runtime.ts'
import { runSampleTask } from './sampling.ts'

let loaded: Opened & { readonly manifest: Manifest }
/** One task at a time: a session cannot run twice at once. */
let queue: Promise<void> = Promise.resolve()
const running = new Map<number, AbortController>()

self.onmessage = ({ data }: MessageEvent<Request>) => {
  switch (data.type) {
    case 'load':
      load(data).then(
        () => post({ type: 'loaded' }),
        (error) => post({ type: 'failed', id: null, failure: failureOf(error) }),
      )
      break
    case 'sample':
      enqueue(data.id, async (signal) => {
        const { manifest, loop } = loaded
        const values = await runSampleTask(manifest, loop, data, teller(data.id), signal)
        return [new Float32Array(values)]
      })
      break
    case 'predict':
      enqueue(data.id, async () => {
        const { x0, epsilon } = await predict(loaded.manifest, loaded.network, data.options)
        return [new Float32Array(x0), new Float32Array(epsilon)]
      })
      break
    case 'abort':
      running.get(data.id)?.abort()
  }
}

function post(reply: Reply, transfer: Transferable[] = []): void {
  self.postMessage(reply, { transfer })
}

async function load({
  server,
  manifest,
  graph: file,
  device,
  threads,
  atOnce,
  cache,
}: Loading): Promise<void> {
  const progress = (told: LoadProgress) => post({ type: 'progress', progress: told })
  const fallBack = (reason: string) => progress({ stage: 'fallback', reason })
  const secondsLeft = createClock()
  const { sha256, bytes } = file
  const graphOfModel = { sha256, bytes, purpose: purposeOf(server, manifest.name) }
  const compiles = cache !== false && !runtime.packed && new URL(server).origin === self.location.origin
  const wasmOfServer = { ...runtime.wasm, compiles, purpose: purposeOf(server, runtime.wasm.purpose) }
  const findCompiled = async () =>
    compiles ? compiledBefore(urlOf(server, wasmOfServer), wasmOfServer.sha256) : null
  // Before, to do without the bytes; and after, for what has just been downloaded is there too.
  const early = await findCompiled()
  const [graph, wasm] = await fetchFiles(server, early ? [graphOfModel] : [graphOfModel, wasmOfServer], {
    cache,
    onProgress: (loaded, total) =>
      progress({ stage: 'download', loaded, total, secondsLeft: secondsLeft(loaded, total) }),
    onUnkept: fallBack,
  })
  progress({ stage: 'prepare' })
  const mjs = new URL(runtime.mjs, import.meta.url).href
  placeRuntime(early ?? (await findCompiled()) ?? (runtime.packed ? await unpacked(wasm!) : wasm!), mjs)
  loaded = { manifest, ...(await openNetwork(graph!, manifest, { device, threads, atOnce })) }
}

async function unpacked(gz: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([gz]).stream().pipeThrough(new DecompressionStream('gzip'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

function enqueue(id: number, task: (signal: AbortSignal) => Promise<Float32Array<ArrayBuffer>[]>): void {
  const controller = new AbortController()
  running.set(id, controller)
  queue = queue.then(async () => {
    try {
      const values = await task(controller.signal)
      post(
        { type: 'done', id, values },
        values.map(({ buffer }) => buffer),
      )
    } catch (error) {
      post({ type: 'failed', id, failure: failureOf(error) })
    } finally {
      running.delete(id)
    }
  })
}

/**
 * Tells the page of steps: of several at once, unless one has something to show. Every message takes a core from the
 * network for a moment.
 */
function teller(id: number): (step: Step) => Promise<void> {
  let untold: Step[] = []
  let told = performance.now()
  return async (step) => {
    untold.push(step)
    const now = performance.now()
    const isLast = step.step === step.steps - 1
    if (step.preview || isLast || now - told >= mostSilent) {
      post({ type: 'steps', id, steps: untold }, untold.flatMap(buffersOf))
      untold = []
      told = now
    }
    if (now - rested < patience) return
    await nextTask()
    rested = performance.now()
  }
}

function buffersOf({ preview }: Step): Transferable[] {
  return preview ? [preview.x.buffer, preview.x0.buffer] : []
}

/** How long the page may be told nothing, in milliseconds. */
const mostSilent = 50
/** How long "abort" may wait, in milliseconds. A rest after every step makes the network 3 % slower. */
const patience = 100
let rested = 0

const { port1, port2 } = new MessageChannel()
const resting: (() => void)[] = []
port1.onmessage = () => resting.shift()!()

/** Lets messages in: without it a whole drawing on WebAssembly is one task, and "abort" waits for its end. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    resting.push(resolve)
    port2.postMessage(null)
  })
}
