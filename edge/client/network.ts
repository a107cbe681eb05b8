import type { Manifest, Network } from '@ddpm/shared'
import * as ort from 'onnxruntime-web'
import { failureOf, SamplerError } from './errors.ts'
import type { Device } from './protocol.ts'

/** Where onnxruntime finds its own files: WebAssembly in memory, the JavaScript that starts it at an address. */
export function placeRuntime(wasm: Uint8Array<ArrayBuffer>, mjs: string): void {
  ort.env.wasm.wasmBinary = wasm
  ort.env.wasm.wasmPaths = { mjs }
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
  { device, threads }: { device: Device; threads: number },
): Promise<Network> {
  ort.env.logLevel = 'error'
  ort.env.wasm.numThreads = threads
  try {
    const session = await ort.InferenceSession.create(graph, { executionProviders: [{ name: device }] })
    const network = networkOf(session, manifest)
    if (device === 'wasm') return network
    const guarded = untilLost(network, await ort.env.webgpu.device)
    await tryOut(guarded, manifest)
    return guarded
  } catch (error) {
    const { code, message } = failureOf(error)
    throw new SamplerError(code ?? 'unsupported', message)
  }
}

async function tryOut(network: Network, { shape, classes }: Manifest): Promise<void> {
  const { channels, height, width } = shape
  const zero = new Float32Array(1)
  await network(new Float32Array(channels * height * width), zero, classes.length > 0 ? zero : null)
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
function untilLost(network: Network, device: GPUDevice): Network {
  const lost = device.lost.then(({ message }): never => {
    throw deviceLost(message)
  })
  lost.catch(() => {})
  return (...input) => Promise.race([lost, network(...input)])
}

function deviceLost(message: string): SamplerError {
  const found = message ? ` (${message})` : ''
  return new SamplerError(
    'device-lost',
    `The graphics card was taken away${found}. Load the model again, or with the device "wasm".`,
  )
}
