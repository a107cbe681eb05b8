import { readFileSync } from 'node:fs'

/**
 * Matches the names of Vulkan and Direct3D drivers that run on the CPU. They are made for tests and are slower than any
 * engine on the CPU.
 */
const softwareDrivers = /swiftshader|llvmpipe|lavapipe|libvulkan_lvp|basic render/i

/** Returns whether an engine's description names a software renderer instead of a graphics card. */
export function isSoftware(description: string): boolean {
  return softwareDrivers.test(description)
}

/**
 * Returns the names of the Vulkan drivers that this process has loaded (Linux only), because onnxruntime does not report its
 * adapter. Software drivers are returned only if no hardware driver is loaded.
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
