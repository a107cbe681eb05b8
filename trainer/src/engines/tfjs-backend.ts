import { UserError } from '@ddpm/shared'
import * as tf from '@tensorflow/tfjs-core'
import type { Device } from '../step/engine.ts'
import { noAdapter } from './install-hints.ts'

/** A backend of TensorFlow.js that is ready to be set. */
export interface Backend {
  readonly name: string
  /** What it computes on, for people. */
  readonly description: string
}

/** The version of the optional packages; one of its parts of another version would be a second library beside it. */
const version = tf.version_core

/**
 * Dawn, WebGPU's implementation in Chrome, as a library for Node. Not a dependency: 130 MB of drivers for five systems,
 * for something that onnxruntime has inside it already.
 */
const dawnPackage = 'webgpu'
const dawnVersion = '0.6.2'

/**
 * Brings up what TensorFlow.js needs for a device.
 * @throws UserError that says what is missing and how to get it
 */
export async function openBackend(device: Device): Promise<Backend> {
  // Without it, the backend in plain JavaScript recommends the others at length.
  tf.env().set('PROD', true)
  switch (device) {
    case 'cuda':
      return cuda()
    case 'webgpu':
      return (dawnBackend ??= webgpu())
    case 'cpu':
      return cpu()
  }
}

const cudaAdvice =
  `npm install --no-save @tensorflow/tfjs-node-gpu@${version}\n` +
  'It fetches libtensorflow 2.9.1 and needs Linux or Windows on x64, CUDA 11.2, cuDNN 8.1 and Node up to 22 ' +
  `(this is Node ${process.versions.node}). Cards newer than CUDA 11.2 (Ada, Hopper, Blackwell) are better served by ` +
  '--engine onnxruntime --device webgpu, which needs nothing but their driver, or --engine onnxruntime --device cuda.'

async function cuda(): Promise<Backend> {
  const found = await optional('@tensorflow/tfjs-node-gpu', cudaAdvice)
  if (!found) {
    throw new UserError(
      `TensorFlow.js computes on CUDA with @tensorflow/tfjs-node-gpu, which is not installed. Install it: ${cudaAdvice}`,
    )
  }
  await tf.setBackend('tensorflow')
  if (!(tf.backend() as { isUsingGpuDevice?: boolean }).isUsingGpuDevice) {
    throw new UserError(
      '@tensorflow/tfjs-node-gpu is installed but found no CUDA device, or not the CUDA and cuDNN it needs. ' +
        `Check nvidia-smi and LD_LIBRARY_PATH. ${cudaAdvice.split('\n')[1]}`,
    )
  }
  return { name: 'tensorflow', description: 'CUDA, libtensorflow' }
}

async function cpu(): Promise<Backend> {
  const advice = `Install it again: npm install --no-save @tensorflow/tfjs-node@${version}, or remove it.`
  if (await optional('@tensorflow/tfjs-node', advice))
    return { name: 'tensorflow', description: 'the CPU, libtensorflow' }
  await import('@tensorflow/tfjs-backend-cpu')
  return { name: 'cpu', description: 'the CPU, plain JavaScript (@tensorflow/tfjs-node would be faster)' }
}

interface Dawn {
  readonly globals: object
  create(options: readonly string[]): {
    requestAdapter(options: object): Promise<{
      readonly info: Readonly<Record<'vendor' | 'architecture' | 'device' | 'description', string>>
    } | null>
  }
}

/**
 * Once per process: Dawn ends with the last reference to what `create` returned, and the backend's device with it.
 */
let dawnBackend: Promise<Backend> | undefined

async function webgpu(): Promise<Backend> {
  const install = `npm install --no-save ${dawnPackage}@${dawnVersion} @tensorflow/tfjs-backend-webgpu@${version}`
  const advice = `Install again: ${install}`
  const dawn = await optional<Dawn>(dawnPackage, advice)
  if (dawn) {
    Object.assign(globalThis, dawn.globals)
    const gpu = dawn.create([])
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
    if (!adapter) throw new UserError(noAdapter)
    // The backend asks for an adapter of its own, through the global that browsers have.
    Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true })
    if (await optional('@tensorflow/tfjs-backend-webgpu', advice)) {
      const { description, device, architecture, vendor } = adapter.info
      return { name: 'webgpu', description: `WebGPU, ${description || device || architecture || vendor}` }
    }
  }
  throw new UserError(
    `TensorFlow.js computes on WebGPU with the packages ${dawnPackage} and @tensorflow/tfjs-backend-webgpu, which are not ` +
      `both installed. Install them: ${install}\nOr use --engine onnxruntime --device webgpu, which needs neither.`,
  )
}

/**
 * Imports a package that need not be installed.
 * @returns null where it is not
 * @throws UserError where it is, but does not load
 */
async function optional<T = unknown>(name: string, advice: string): Promise<T | null> {
  try {
    return await import(name)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ERR_MODULE_NOT_FOUND' && message.includes(`'${name}'`)) return null
    throw new UserError(`${name} is installed but does not load: ${message.split('\n')[0]}\n${advice}`)
  }
}
