import { UserError } from '@ddpm/shared'
import type { Device } from './protocol.ts'

/** Where the network will run, in which build of onnxruntime-web, and why. */
export interface DeviceChoice {
  readonly device: Device
  readonly build: 'webgpu' | 'jspi' | 'wasm'
  readonly threads: number
  /** For people: "WebGPU: Apple M2", "WebAssembly, 2 threads: this browser has no WebGPU". */
  readonly reason: string
}

/**
 * Chooses WebGPU where there is an adapter, WebAssembly otherwise.
 * @throws UserError where WebGPU is asked for and not there
 */
export async function chooseDevice(wanted: 'auto' | Device): Promise<DeviceChoice> {
  if (wanted === 'wasm') return webAssembly('as asked for')
  const { adapter, obstacle } = await findAdapter()
  if (adapter) return webGpu(adapter)
  if (wanted === 'auto') return webAssembly(obstacle)
  throw new UserError(`WebGPU was asked for, but ${obstacle}. Choose the device "auto" or "wasm".`)
}

export function webAssembly(why: string): DeviceChoice {
  // Threads share memory, which browsers allow only to isolated pages. Four is onnxruntime's own limit.
  const threads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1
  const reason = `WebAssembly, ${threads} ${threads === 1 ? 'thread' : 'threads'}: ${why}`
  return { device: 'wasm', build: 'wasm', threads, reason }
}

function webGpu({ info }: GPUAdapter): DeviceChoice {
  const name =
    info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(' ') || 'adapter found'
  // With JavaScript Promise Integration WebAssembly can wait for the GPU by itself: the smaller, faster build.
  const build = 'Suspending' in WebAssembly ? 'jspi' : 'webgpu'
  return { device: 'webgpu', build, threads: 1, reason: `WebGPU: ${name}` }
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
