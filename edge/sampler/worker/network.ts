import { type Loop, loopOf, type Manifest, type Network } from '@ddpm/shared'
import * as ort from 'onnxruntime-web'
import { inBatches } from '../base/batches.ts'
import { failureOf, SamplerError } from '../base/errors.ts'
import type { Device } from '../base/protocol.ts'
import { loopOnGpu } from '../gpu/loop.ts'

/** Where onnxruntime finds its own files: WebAssembly in memory, the JavaScript that starts it at an address. */
export function placeRuntime(wasm: Uint8Array<ArrayBuffer> | WebAssembly.Module, mjs: string): void {
  ort.env.wasm.wasmBinary = wasm instanceof WebAssembly.Module ? standInFor(wasm) : wasm
  ort.env.wasm.wasmPaths = { mjs }
}

/** onnxruntime instantiates bytes and takes no module: these are known again, and the module is taken in their place. */
function standInFor(module: WebAssembly.Module): ArrayBuffer {
  const standIn = new ArrayBuffer(1)
  const instantiate = WebAssembly.instantiate as (source: unknown, imports: unknown) => Promise<unknown>
  const instead = async (source: unknown, imports: unknown) =>
    source instanceof Uint8Array && source.buffer === standIn
      ? { module, instance: await instantiate(module, imports) }
      : instantiate(source, imports)
  WebAssembly.instantiate = instead as typeof WebAssembly.instantiate
  return standIn
}

/** Where a session runs, and how many pictures it is given at once. */
export interface Placement {
  readonly device: Device
  readonly threads: number
  readonly atOnce: number
}

/** A network that runs, and the loop that draws with it. */
export interface Opened {
  readonly network: Network
  readonly loop: Loop
}

/**
 * The network in a session that runs: WebGPU compiles its shaders in the first run, so that only then it is known to
 * work.
 * @param graph the ONNX model
 * @throws SamplerError 'unsupported' where the device cannot run it, 'out-of-memory' where it is too small
 */
export async function openNetwork(
  graph: Uint8Array,
  manifest: Manifest,
  { device, threads, atOnce }: Placement,
): Promise<Opened> {
  ort.env.logLevel = 'error'
  ort.env.wasm.numThreads = threads
  try {
    const session = await ort.InferenceSession.create(graph, {
      executionProviders: [{ name: device }],
      // Errors alone: on WebGPU it warns of every shape that is computed on the CPU, as is best.
      logSeverityLevel: 3,
    })
    const bare = networkOf(session, manifest)
    if (device === 'wasm') {
      const network = inBatches(bare, atOnce)
      return { network, loop: loopOf(network) }
    }
    const card = await ort.env.webgpu.device
    const guarded = untilLost(bare, card)
    const stride = await tryOut(guarded, manifest)
    const network = inBatches(guarded, atOnce)
    const onGpu = { session, device: card, manifest, stride, atOnce }
    return { network, loop: untilLost(await loopOnGpu(onGpu, loopOf(network)), card) }
  } catch (error) {
    const { code, message } = failureOf(error)
    throw new SamplerError(code ?? 'unsupported', message)
  }
}

/** Numbers that the network returns for one picture. */
async function tryOut(network: Network, { shape, classes }: Manifest): Promise<number> {
  const { channels, height, width } = shape
  const zero = new Float32Array(1)
  const x = new Float32Array(channels * height * width)
  return (await network(x, zero, classes.length > 0 ? zero : null)).length
}

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

/** The same, which fails as soon as its device is lost: what onnxruntime waits for then may never come. */
function untilLost<Given extends unknown[], Result>(
  work: (...given: Given) => Result | Promise<Result>,
  device: GPUDevice,
): (...given: Given) => Promise<Result> {
  const lost = device.lost.then(({ message }): never => {
    throw deviceLost(message)
  })
  lost.catch(() => {})
  return (...given) => Promise.race([lost, work(...given)])
}

function deviceLost(message: string): SamplerError {
  const found = message ? ` (${message})` : ''
  return new SamplerError(
    'device-lost',
    `The graphics card was taken away${found}. Load the model again, or with the device "wasm".`,
  )
}
