import { existsSync, mkdirSync, readdirSync, realpathSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

/** Folders in which the Vulkan loader searches for drivers. */
const driverFolders = ['/etc/vulkan/icd.d', '/usr/share/vulkan/icd.d']

/**
 * Returns environment variables with which programs on Linux find a Vulkan driver: the software driver SwiftShader and the
 * loader in Chromium's folder. Returns no variables if a driver is configured or installed, if SwiftShader is not found, or
 * on other systems.
 */
export function vulkanEnvironment(
  browser: string | null,
  env: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  if (process.platform !== 'linux' || env['VK_ICD_FILENAMES'] || env['VK_DRIVER_FILES']) return {}
  const installed = driverFolders.flatMap((folder) => (existsSync(folder) ? readdirSync(folder) : []))
  // Mesa's software driver (lavapipe) does not count: the version in Debian 12 is too old for Dawn.
  if (installed.some((name) => !/^lvp/.test(name))) return {}
  const folder = [browser && dirname(realpathSync(browser)), '/usr/lib/chromium'].find(
    (folder) => folder && existsSync(join(folder, 'vk_swiftshader_icd.json')),
  )
  if (!folder) return {}
  // Link only the loader, so that programs do not load the other libraries in Chromium's folder.
  const loaderFolder = join(tmpdir(), 'ddpm-vulkan')
  const link = join(loaderFolder, 'libvulkan.so.1')
  mkdirSync(loaderFolder, { recursive: true })
  if (!existsSync(link)) symlinkSync(join(folder, 'libvulkan.so.1'), link)
  return {
    VK_ICD_FILENAMES: join(folder, 'vk_swiftshader_icd.json'),
    LD_LIBRARY_PATH: [loaderFolder, ...(env['LD_LIBRARY_PATH']?.split(delimiter) ?? [])].join(delimiter),
  }
}
