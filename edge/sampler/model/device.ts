import { SamplerError } from '../base/errors.ts'
import type { Device } from '../base/protocol.ts'

/** Where the network will run, in which build of onnxruntime-web, and why. */
export interface DeviceChoice {
  readonly device: Device
  readonly build: 'webgpu' | 'jspi' | 'wasm'
  readonly threads: number
  /** For people: "WebGPU: Apple M2", "WebAssembly, 2 threads: this browser has no WebGPU". */
  readonly reason: string
}

/** What this browser can do for a network. */
export interface Detected {
  /** What `load` would choose, and why. */
  readonly device: Device
  readonly deviceReason: string
  readonly webgpu: boolean
  /** Whether the graphics card computes in half precision. */
  readonly shaderF16: boolean
  /** Of WebAssembly. */
  readonly threads: number
  /** JavaScript Promise Integration: WebAssembly waits for the GPU by itself, in a smaller build. */
  readonly jspi: boolean
  /** For what is missing, why. */
  readonly why: { readonly [M in 'webgpu' | 'shaderF16' | 'threads' | 'jspi']?: string }
}

export async function detect(): Promise<Detected> {
  const { adapter, obstacle } = await findAdapter()
  const { device, reason } = adapter ? webGpu(adapter) : webAssembly(obstacle)
  const shaderF16 = adapter?.features.has('shader-f16') ?? false
  const { threads, obstacle: threadsObstacle } = countThreads()
  const why = {
    ...(!adapter && { webgpu: obstacle }),
    ...(!shaderF16 && { shaderF16: adapter ? 'this graphics card does not offer it' : obstacle }),
    ...(threadsObstacle && { threads: threadsObstacle }),
    ...(!hasPromiseIntegration() && { jspi: 'this browser has no WebAssembly.Suspending' }),
  }
  const jspi = hasPromiseIntegration()
  return { device, deviceReason: reason, webgpu: adapter !== null, shaderF16, threads, jspi, why }
}

/**
 * Chooses WebGPU where there is an adapter, WebAssembly otherwise.
 * @throws SamplerError 'no-webgpu' where WebGPU is asked for and not there
 */
export async function chooseDevice(wanted: 'auto' | Device): Promise<DeviceChoice> {
  if (wanted === 'wasm') return webAssembly('as asked for')
  const { adapter, obstacle } = await findAdapter()
  if (adapter) return webGpu(adapter)
  if (wanted === 'auto') return webAssembly(obstacle)
  throw new SamplerError(
    'no-webgpu',
    `WebGPU was asked for, but ${obstacle}. Choose the device "auto" or "wasm".`,
  )
}

export function webAssembly(why: string): DeviceChoice {
  const { threads } = countThreads()
  const reason = `WebAssembly, ${threads} ${threads === 1 ? 'thread' : 'threads'}: ${why}`
  return { device: 'wasm', build: 'wasm', threads, reason }
}

function webGpu({ info }: GPUAdapter): DeviceChoice {
  const name =
    info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(' ') || 'adapter found'
  const build = hasPromiseIntegration() ? 'jspi' : 'webgpu'
  return { device: 'webgpu', build, threads: 1, reason: `WebGPU: ${name}` }
}

function hasPromiseIntegration(): boolean {
  return 'Suspending' in WebAssembly
}

/** Threads share memory, which browsers allow only to isolated pages. Four is onnxruntime's own limit. */
function countThreads(): { threads: number; obstacle: string | null } {
  const cores = navigator.hardwareConcurrency || 1
  if (!globalThis.crossOriginIsolated) {
    return {
      threads: 1,
      obstacle: 'the page is not isolated (Cross-Origin-Opener-Policy and -Embedder-Policy)',
    }
  }
  return { threads: Math.min(cores, 4), obstacle: cores === 1 ? 'this device has one core' : null }
}

async function findAdapter(): Promise<{ adapter: GPUAdapter | null; obstacle: string }> {
  if (!globalThis.isSecureContext)
    return { adapter: null, obstacle: 'WebGPU needs a page opened through https' }
  if (!navigator.gpu) return { adapter: null, obstacle: 'this browser has no WebGPU' }
  const adapter = await navigator.gpu
    .requestAdapter({ powerPreference: 'high-performance' })
    .catch(() => null)
  return { adapter, obstacle: 'this browser has no WebGPU adapter' }
}
