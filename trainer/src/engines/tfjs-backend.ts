import { UserError } from '@ddpm/shared'
import * as tf from '@tensorflow/tfjs-core'
import type { Device } from '../step/engine.ts'
import { noWebgpuAdapter } from './install-hints.ts'

/** A registered backend of TensorFlow.js, ready for tf.setBackend. */
export interface Backend {
  readonly name: string
  /** Name of the device and its driver, for messages. */
  readonly description: string
}

/** Version of the optional packages. A package of another version would load a second copy of TensorFlow.js. */
const version = tf.version_core

/**
 * Node package of Dawn, Chrome's implementation of WebGPU. It is not a dependency, because it contains 130 MB of binaries
 * for five systems, and onnxruntime already includes Dawn.
 */
const dawnPackage = 'webgpu'
const dawnVersion = '0.6.2'

/**
 * Loads the TensorFlow.js backend for a device.
 * @throws UserError that lists what is missing and the command that installs it
 */
export async function openBackend(device: Device): Promise<Backend> {
  // Suppresses the advertisement for other backends that the JavaScript backend prints.
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

const cudaInstall = `npm install --no-save @tensorflow/tfjs-node-gpu@${version}`
const cudaRequirements =
  'It downloads libtensorflow 2.9.1 and needs Linux or Windows on x64, CUDA 11.2, cuDNN 8.1 and Node 22 or older ' +
  `(this is Node ${process.versions.node}). For cards newer than CUDA 11.2 (Ada, Hopper, Blackwell), use ` +
  '--engine onnxruntime --device webgpu, which needs only the graphics driver, or --engine onnxruntime --device cuda.'

async function cuda(): Promise<Backend> {
  const loaded = await importOptional(
    '@tensorflow/tfjs-node-gpu',
    `Reinstall it:\n  ${cudaInstall}\n${cudaRequirements}`,
  )
  if (!loaded) {
    throw new UserError(
      'Cannot use CUDA with TensorFlow.js: the package @tensorflow/tfjs-node-gpu is not installed.\n' +
        `Install it:\n  ${cudaInstall}\n${cudaRequirements}`,
    )
  }
  await tf.setBackend('tensorflow')
  if (!(tf.backend() as { isUsingGpuDevice?: boolean }).isUsingGpuDevice) {
    throw new UserError(
      'Cannot use CUDA with TensorFlow.js: @tensorflow/tfjs-node-gpu is installed, but detects no CUDA device, or not ' +
        'the versions of CUDA and cuDNN that it needs.\n' +
        `Check the output of nvidia-smi and the folders in LD_LIBRARY_PATH. ${cudaRequirements}`,
    )
  }
  return { name: 'tensorflow', description: 'CUDA, libtensorflow' }
}

async function cpu(): Promise<Backend> {
  const hint =
    `Reinstall it:\n  npm install --no-save @tensorflow/tfjs-node@${version}\n` +
    'or remove the folder node_modules/@tensorflow/tfjs-node.'
  if (await importOptional('@tensorflow/tfjs-node', hint))
    return { name: 'tensorflow', description: 'the CPU, libtensorflow' }
  await import('@tensorflow/tfjs-backend-cpu')
  return {
    name: 'cpu',
    description: 'the CPU, plain JavaScript (the package @tensorflow/tfjs-node is faster)',
  }
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
 * The backend is opened once per process. When the object that `Dawn.create` returned is garbage-collected, Dawn stops and
 * the backend loses its device.
 */
let dawnBackend: Promise<Backend> | undefined

async function webgpu(): Promise<Backend> {
  const install = `npm install --no-save ${dawnPackage}@${dawnVersion} @tensorflow/tfjs-backend-webgpu@${version}`
  const hint = `Reinstall it:\n  ${install}`
  const dawn = await importOptional<Dawn>(dawnPackage, hint)
  if (dawn) {
    Object.assign(globalThis, dawn.globals)
    const gpu = dawn.create([])
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
    if (!adapter) throw new UserError(noWebgpuAdapter)
    // The backend requests its adapter from navigator.gpu, as in a browser.
    Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true })
    if (await importOptional('@tensorflow/tfjs-backend-webgpu', hint)) {
      const { description, device, architecture, vendor } = adapter.info
      return { name: 'webgpu', description: `WebGPU, ${description || device || architecture || vendor}` }
    }
  }
  throw new UserError(
    `Cannot use WebGPU with TensorFlow.js: the packages ${dawnPackage} and @tensorflow/tfjs-backend-webgpu ` +
      `are not both installed.\nInstall them:\n  ${install}\n` +
      `Alternatively, use --engine onnxruntime --device webgpu, which needs neither package.`,
  )
}

/**
 * Imports an optional package.
 * @param hint end of the error message: what to do if the package is installed but cannot be loaded
 * @returns null if the package is not installed
 * @throws UserError if it is installed but cannot be loaded
 */
async function importOptional<T = unknown>(name: string, hint: string): Promise<T | null> {
  try {
    return await import(name)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ERR_MODULE_NOT_FOUND' && message.includes(`'${name}'`)) return null
    throw new UserError(`Cannot load the installed package ${name}: ${message.split('\n')[0]}\n${hint}`)
  }
}
