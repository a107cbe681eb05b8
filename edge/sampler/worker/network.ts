import { createLoop, type Manifest, type Network, type SamplingLoop } from '@ddpm/shared'
import * as ort from 'onnxruntime-web'
import { runInBatches } from '../base/batches.ts'
import { SamplerError, toFailure } from '../base/errors.ts'
import type { Device } from '../base/protocol.ts'
import { createGpuLoop } from '../gpu/loop.ts'

/**
 * Sets the files that onnxruntime loads.
 * @param wasm its WebAssembly, as bytes or compiled
 * @param mjs URL of the JavaScript that starts it
 */
export function configureRuntime(wasm: Uint8Array<ArrayBuffer> | WebAssembly.Module, mjs: string): void {
  ort.env.wasm.wasmBinary = wasm instanceof WebAssembly.Module ? createPlaceholder(wasm) : wasm
  ort.env.wasm.wasmPaths = { mjs }
}

/**
 * Returns a buffer that represents a compiled module. onnxruntime accepts bytes only, so `WebAssembly.instantiate` is
 * patched to instantiate the module when it receives this buffer.
 */
function createPlaceholder(module: WebAssembly.Module): ArrayBuffer {
  const placeholder = new ArrayBuffer(1)
  const instantiate = WebAssembly.instantiate as (source: unknown, imports: unknown) => Promise<unknown>
  const patched = async (source: unknown, imports: unknown) =>
    source instanceof Uint8Array && source.buffer === placeholder
      ? { module, instance: await instantiate(module, imports) }
      : instantiate(source, imports)
  WebAssembly.instantiate = patched as typeof WebAssembly.instantiate
  return placeholder
}

export interface SessionOptions {
  readonly device: Device
  /** Number of WebAssembly threads. */
  readonly threads: number
  /** Max number of images per forward pass. */
  readonly batchSize: number
}

/** A network in an onnxruntime session, and the sampling loop for it. */
export interface OpenNetwork {
  readonly network: Network
  readonly loop: SamplingLoop
  /** Returns the number of forward passes so far. */
  runs(): number
}

/**
 * Opens a network in an onnxruntime session. On WebGPU also runs it once: the first run compiles the shaders, which
 * fails if the device cannot run the network.
 * @param graph the ONNX model
 * @throws SamplerError 'unsupported' if the device cannot run the network, 'out-of-memory' if its memory is too small
 */
export async function openNetwork(
  graph: Uint8Array,
  manifest: Manifest,
  { device, threads, batchSize }: SessionOptions,
): Promise<OpenNetwork> {
  ort.env.logLevel = 'error'
  ort.env.wasm.numThreads = threads
  try {
    const session = await ort.InferenceSession.create(graph, {
      executionProviders: [{ name: device }],
      // Errors only: on WebGPU, onnxruntime warns about each shape computation on the CPU, although this is intended.
      logSeverityLevel: 3,
    })
    const runs = countRuns(session)
    const bare = wrapSession(session, manifest)
    if (device === 'wasm') {
      const network = runInBatches(bare, batchSize)
      return { network, loop: createLoop(network), runs }
    }
    const gpu = await ort.env.webgpu.device
    const guarded = rejectWhenLost(bare, gpu)
    const stride = await runOnce(guarded, manifest)
    const network = runInBatches(guarded, batchSize)
    const context = { session, device: gpu, manifest, stride, batchSize }
    return { network, loop: rejectWhenLost(await createGpuLoop(context, createLoop(network)), gpu), runs }
  } catch (error) {
    const { code, message } = toFailure(error)
    throw new SamplerError(code ?? 'unsupported', message)
  }
}

/** Counts the runs of a session. Returns a function that returns their number. */
function countRuns(session: ort.InferenceSession): () => number {
  let count = 0
  const run = session.run.bind(session) as (...args: unknown[]) => ReturnType<typeof session.run>
  session.run = (...args: unknown[]) => {
    count++
    return run(...args)
  }
  return () => count
}

/** Runs a forward pass on zeros. Returns the number of output values per image. */
async function runOnce(network: Network, { shape, classes }: Manifest): Promise<number> {
  const { channels, height, width } = shape
  const zero = new Float32Array(1)
  const x = new Float32Array(channels * height * width)
  return (await network(x, zero, classes.length > 0 ? zero : null)).length
}

function wrapSession(session: ort.InferenceSession, { shape, inputs, output }: Manifest): Network {
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

/** Makes a function reject as soon as its GPU is lost: promises of onnxruntime may then never settle. */
function rejectWhenLost<Arguments extends unknown[], Result>(
  run: (...args: Arguments) => Result | Promise<Result>,
  device: GPUDevice,
): (...args: Arguments) => Promise<Result> {
  const lost = device.lost.then(({ message }): never => {
    throw deviceLost(message)
  })
  lost.catch(() => {})
  return (...args) => Promise.race([lost, run(...args)])
}

function deviceLost(message: string): SamplerError {
  const detail = message ? ` (${message})` : ''
  return new SamplerError(
    'device-lost',
    `The GPU was lost${detail}. Load the model again, or choose the device "wasm".`,
  )
}
