import { SamplerError } from '../base/errors.ts'
import type { Device } from '../base/protocol.ts'
import type { Build } from './runtime-files.ts'

/** A device, the build of onnxruntime-web for it, and the reason for the choice. */
export interface DeviceChoice {
  readonly device: Device
  readonly build: Build
  readonly threads: number
  /** Text for users: "WebGPU: Apple M2", "WebAssembly, 2 threads: this browser has no WebGPU". */
  readonly reason: string
}

/** Features of this browser and device that matter for running a model. */
export interface DeviceSupport {
  /** Device that `load` chooses by default. */
  readonly device: Device
  /** Reason for the choice, as text for users. */
  readonly deviceReason: string
  readonly webgpu: boolean
  /** Whether the GPU supports half-precision arithmetic. */
  readonly shaderF16: boolean
  /** Number of WebAssembly threads. */
  readonly threads: number
  /** Whether JavaScript Promise Integration is available. It allows a smaller build of onnxruntime for WebGPU. */
  readonly jspi: boolean
  /** Reasons for missing features. */
  readonly why: { readonly [M in 'webgpu' | 'shaderF16' | 'threads' | 'jspi']?: string }
}

/** Detects which devices and features are available. */
export async function detect(): Promise<DeviceSupport> {
  const found = await findAdapter()
  const { adapter, obstacle } = found
  const { device, reason } = chooseAutomatically(found)
  const shaderF16 = adapter?.features.has('shader-f16') ?? false
  const { threads, obstacle: threadsObstacle } = countThreads()
  const why = {
    ...(!adapter && { webgpu: obstacle }),
    ...(!shaderF16 && { shaderF16: adapter ? 'this GPU does not support it' : obstacle }),
    ...(threadsObstacle && { threads: threadsObstacle }),
    ...(!hasPromiseIntegration() && { jspi: 'this browser has no WebAssembly.Suspending' }),
  }
  const jspi = hasPromiseIntegration()
  return { device, deviceReason: reason, webgpu: adapter !== null, shaderF16, threads, jspi, why }
}

/**
 * Chooses the device: by default WebGPU if there is an adapter for a GPU, or else WebAssembly, which is faster than an
 * adapter that renders in software.
 * @throws SamplerError 'no-webgpu' if WebGPU is requested but not available
 */
export async function chooseDevice(requested: 'auto' | Device): Promise<DeviceChoice> {
  if (requested === 'wasm') return webAssembly('as requested')
  const found = await findAdapter()
  if (requested === 'auto') return chooseAutomatically(found)
  const { adapter, obstacle } = found
  if (adapter) return webGpu(adapter)
  throw new SamplerError(
    'no-webgpu',
    `The device "webgpu" is not available: ${obstacle}. Choose the device "auto" or "wasm".`,
  )
}

function chooseAutomatically({ adapter, obstacle }: Awaited<ReturnType<typeof findAdapter>>): DeviceChoice {
  if (adapter && !isSoftware(adapter)) return webGpu(adapter)
  return webAssembly(adapter ? 'this browser runs WebGPU in software' : obstacle)
}

/** Returns WebAssembly as the device. `why` is the reason for not using WebGPU. */
export function webAssembly(why: string): DeviceChoice {
  const { threads } = countThreads()
  const reason = `WebAssembly, ${threads} ${threads === 1 ? 'thread' : 'threads'}: ${why}`
  return { device: 'wasm', build: 'wasm', threads, reason }
}

function webGpu({ info }: GPUAdapter): DeviceChoice {
  const name =
    info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(' ') || 'unnamed adapter'
  const build = hasPromiseIntegration() ? 'jspi' : 'webgpu'
  return { device: 'webgpu', build, threads: 1, reason: `WebGPU: ${name}` }
}

/** Returns whether an adapter runs on the CPU. Browsers had the attribute on the adapter before it moved to its info. */
function isSoftware(adapter: GPUAdapter & { readonly isFallbackAdapter?: boolean }): boolean {
  return adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false
}

function hasPromiseIntegration(): boolean {
  return 'Suspending' in WebAssembly
}

/** Threads need shared memory, which browsers allow on cross-origin isolated pages only. onnxruntime's max is 4. */
function countThreads(): { threads: number; obstacle: string | null } {
  const cores = navigator.hardwareConcurrency || 1
  if (!globalThis.crossOriginIsolated) {
    return {
      threads: 1,
      obstacle:
        'the page is not cross-origin isolated (headers Cross-Origin-Opener-Policy and -Embedder-Policy)',
    }
  }
  return { threads: Math.min(cores, 4), obstacle: cores === 1 ? 'this device has one core' : null }
}

async function findAdapter(): Promise<{ adapter: GPUAdapter | null; obstacle: string }> {
  if (!globalThis.isSecureContext)
    return { adapter: null, obstacle: 'WebGPU needs a page opened through https or localhost' }
  if (!navigator.gpu) return { adapter: null, obstacle: 'this browser has no WebGPU' }
  const adapter = await navigator.gpu
    .requestAdapter({ powerPreference: 'high-performance' })
    .catch(() => null)
  return { adapter, obstacle: 'this browser has no WebGPU adapter' }
}
