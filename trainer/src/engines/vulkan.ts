import { readFileSync } from 'node:fs'

/** Drivers and adapters that compute on the CPU what a graphics card would: for tests, and slower than any CPU engine. */
const software = /swiftshader|llvmpipe|lavapipe|libvulkan_lvp|basic render/i

/** Whether what an engine says of its adapter or driver names software that acts as a graphics card. */
export function isSoftware(description: string): boolean {
  return software.test(description)
}

/**
 * The Vulkan drivers that this process has loaded, on Linux: onnxruntime does not tell which adapter it took. A real one
 * comes before those that compute on the CPU, so these are named only where there is no other.
 */
export function vulkanDrivers(): string[] {
  if (process.platform !== 'linux') return []
  const files = readFileSync('/proc/self/maps', 'utf8').matchAll(
    /\/(libvk_\w+|libvulkan_\w+|lib(?:GLX|EGL)_nvidia)\.so/g,
  )
  const drivers = [...new Set([...files].map(([, name]) => name!))]
  const real = drivers.filter((name) => !isSoftware(name))
  return real.length > 0 ? real : drivers
}
