import { generate, graphFile, type Manifest, type Network, toRgba, UserError } from '@ddpm/shared'
import * as ort from 'onnxruntime-web'
import { fetchFiles } from './files.ts'
import type { Device, Drawing, Failure, Reply, Request, Step } from './protocol.ts'
import { runtime } from './runtime.ts'

/** Pictures on their way are sent at most this often, in milliseconds. */
const pictureInterval = 50

interface Loaded {
  readonly manifest: Manifest
  readonly network: Network
}

let loaded: Loaded
/** One drawing at a time: a session cannot run twice at once. */
let queue: Promise<void> = Promise.resolve()
const drawings = new Map<number, AbortController>()

self.onmessage = ({ data }: MessageEvent<Request>) => {
  switch (data.type) {
    case 'load':
      load(data).then(
        (model) => {
          loaded = model
          post({ type: 'loaded' })
        },
        (error) => post({ type: 'failed', id: null, failure: failureOf(error) }),
      )
      break
    case 'sample': {
      const controller = new AbortController()
      drawings.set(data.id, controller)
      queue = queue.then(() => draw(data.id, data.options, controller.signal))
      break
    }
    case 'abort':
      drawings.get(data.id)?.abort()
  }
}

function post(reply: Reply, transfer: Transferable[] = []): void {
  self.postMessage(reply, { transfer })
}

async function load({
  origin,
  manifest,
  device,
  threads,
}: Extract<Request, { type: 'load' }>): Promise<Loaded> {
  const [graph, wasm] = await fetchFiles(origin, [graphFile(manifest), runtime.wasm], (bytes, total) =>
    post({ type: 'progress', progress: { stage: 'download', loaded: bytes, total } }),
  )
  post({ type: 'progress', progress: { stage: 'prepare' } })
  ort.env.logLevel = 'error'
  ort.env.wasm.numThreads = threads
  ort.env.wasm.wasmBinary = wasm!
  ort.env.wasm.wasmPaths = { mjs: `${origin}/files/${runtime.mjs.sha256}` }
  return { manifest, network: await startNetwork(graph!, manifest, device) }
}

/** A session that runs: WebGPU compiles its shaders in the first run, so that only then it is known to work. */
async function startNetwork(graph: Uint8Array, manifest: Manifest, device: Device): Promise<Network> {
  try {
    const session = await ort.InferenceSession.create(graph, { executionProviders: [{ name: device }] })
    const network = networkOf(session, manifest)
    if (device === 'webgpu') {
      const { channels, height, width } = manifest.shape
      const zero = new Float32Array(1)
      await network(
        new Float32Array(channels * height * width),
        zero,
        manifest.classes.length > 0 ? zero : null,
      )
    }
    return network
  } catch (error) {
    throw new SessionError((error as Error).message ?? String(error))
  }
}

class SessionError extends Error {}

function networkOf(session: ort.InferenceSession, { shape, inputs, output }: Manifest): Network {
  const { channels, height, width } = shape
  return async (x, timestep, label) => {
    const count = timestep.length
    const feeds = {
      [inputs.sample]: new ort.Tensor('float32', x, [count, channels, height, width]),
      [inputs.timestep]: new ort.Tensor('float32', timestep, [count]),
      ...(inputs.label !== null && label && { [inputs.label]: new ort.Tensor('float32', label, [count]) }),
    }
    const results = await session.run(feeds)
    const result = results[output]!
    const values = (await result.getData()) as Float32Array
    result.dispose()
    return values
  }
}

async function draw(id: number, options: Drawing, signal: AbortSignal): Promise<void> {
  const { manifest, network } = loaded
  let lastPictures = Number.NEGATIVE_INFINITY
  try {
    const values = await generate(manifest, network, {
      ...options,
      signal,
      async onStep({ step, steps, t, x }) {
        const due = performance.now() - lastPictures >= pictureInterval
        const rgba = due ? allRgba(x, options.count, manifest) : null
        const told: Step = { step, steps, t, rgba }
        post({ type: 'step', id, step: told }, rgba ? [rgba.buffer] : [])
        if (due) lastPictures = performance.now()
        await nextTask()
      },
    })
    const own = new Float32Array(values)
    post({ type: 'drawn', id, values: own }, [own.buffer])
  } catch (error) {
    post({ type: 'failed', id, failure: failureOf(error) })
  } finally {
    drawings.delete(id)
  }
}

function allRgba(values: Float32Array, count: number, { shape }: Manifest): Uint8ClampedArray<ArrayBuffer> {
  const size = shape.height * shape.width * 4
  const all = new Uint8ClampedArray(count * size)
  for (let i = 0; i < count; i++) all.set(toRgba(values, i, shape), i * size)
  return all
}

/** Lets messages in: without it a whole drawing on WebAssembly is one task, and "abort" waits for its end. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(null)
  })
}

function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  if (/bad_alloc|out of memory|OOM|allocation failed/i.test(message)) {
    return {
      of: 'input',
      message: `This device ran out of memory (${message}). Draw fewer pictures at once, or close other pages.`,
    }
  }
  if (error instanceof UserError) return { of: 'input', message }
  return { of: error instanceof SessionError ? 'session' : 'program', message }
}
