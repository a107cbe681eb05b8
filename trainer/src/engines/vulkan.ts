import { readFileSync } from 'node:fs'

/**
 * Names of Vulkan and Direct3D drivers that run on the CPU. They exist for tests and are slower than any CPU engine.
 */
const softwareDrivers = /swiftshader|llvmpipe|lavapipe|libvulkan_lvp|basic render/i

/** Returns whether an engine's description names a software renderer instead of a graphics card. */
export function isSoftware(description: string): boolean {
  return softwareDrivers.test(description)
}

/**
 * Returns the Vulkan drivers that this process has loaded (Linux only), because onnxruntime does not report its
 * adapter. Hardware drivers take precedence, so software drivers are returned only if there is no other.
 */
export function vulkanDrivers(): string[] {
  if (process.platform !== 'linux') return []
  const matches = readFileSync('/proc/self/maps', 'utf8').matchAll(
    /\/(libvk_\w+|libvulkan_\w+|lib(?:GLX|EGL)_nvidia)\.so/g,
  )
  const drivers = [...new Set([...matches].map(([, name]) => name!))]
  const hardware = drivers.filter((name) => !isSoftware(name))
  return hardware.length > 0 ? hardware : drivers
}
