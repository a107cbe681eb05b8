import { UserError } from '@ddpm/shared'
import * as tf from '@tensorflow/tfjs-core'
import { installedModules, type NodePackage, tfjsNode, tfjsNodeGpu } from '../setup/tfjs-node.ts'
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

async function cuda(): Promise<Backend> {
  if (!(await loadNodePackage(tfjsNodeGpu))) {
    throw new UserError(
      'Cannot use CUDA with TensorFlow.js: @tensorflow/tfjs-node-gpu is not installed.\n' +
        'Install it, with TensorFlow and CUDA 12 (Linux x64, NVIDIA driver 525 or newer):\n  npm run setup -- tfjs --cuda',
    )
  }
  await tf.setBackend('tensorflow')
  if (!(tf.backend() as { isUsingGpuDevice?: boolean }).isUsingGpuDevice) {
    throw new UserError(
      'Cannot use CUDA with TensorFlow.js: TensorFlow is installed, but detects no CUDA device.\n' +
        'Check the output of nvidia-smi: it must list a card, and a driver of version 525 or newer.',
    )
  }
  return { name: 'tensorflow', description: `CUDA, TensorFlow ${tensorflowVersion()}` }
}

async function cpu(): Promise<Backend> {
  if (await loadNodePackage(tfjsNode)) {
    await tf.setBackend('tensorflow')
    return { name: 'tensorflow', description: `the CPU, TensorFlow ${tensorflowVersion()}` }
  }
  await import('@tensorflow/tfjs-backend-cpu')
  return {
    name: 'cpu',
    description: 'the CPU, plain JavaScript (faster after npm run setup -- tfjs)',
  }
}

/** Returns the version of the loaded TensorFlow library. */
function tensorflowVersion(): string {
  return (tf.backend() as unknown as { binding: { TF_Version: string } }).binding.TF_Version
}

/**
 * Loads a package of TensorFlow.js for Node: the one that `npm run setup` has built, or one in node_modules.
 * @returns false if there is none
 * @throws UserError if it is installed but cannot be loaded
 */
async function loadNodePackage(nodePackage: NodePackage): Promise<boolean> {
  // TensorFlow would print its optimizations and, without a GPU, many warnings. Errors are still printed.
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2'
  const { npmName, part } = nodePackage
  const setup = `npm run setup -- tfjs${part === 'tfjs' ? '' : ' --cuda'}`
  const modules = installedModules(nodePackage)
  if (modules === null)
    return (await importOptional(npmName, `Remove it from node_modules, and run:\n  ${setup}`)) !== null
  try {
    modules(npmName)
    return true
  } catch (error) {
    throw new UserError(
      `Cannot load ${npmName}: ${(error as Error).message.split('\n')[0]}\nInstall it again:\n  ${setup} --remove\n  ${setup}`,
    )
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
