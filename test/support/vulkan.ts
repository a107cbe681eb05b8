import { existsSync, mkdirSync, readdirSync, realpathSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

/** Where drivers are registered that Vulkan's loader finds by itself. */
const registered = ['/etc/vulkan/icd.d', '/usr/share/vulkan/icd.d']

/**
 * Environment in which programs find a Vulkan driver on Linux: nothing where the machine has one, otherwise what makes
 * them find SwiftShader, the one in software that Chromium carries, and the loader beside it.
 */
export function vulkanEnvironment(
  browser: string | null,
  env: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  if (process.platform !== 'linux' || env['VK_ICD_FILENAMES'] || env['VK_DRIVER_FILES']) return {}
  const installed = registered.flatMap((folder) => (existsSync(folder) ? readdirSync(folder) : []))
  // Mesa's own in software is too old in Debian 12 for Dawn.
  if (installed.some((name) => !/^lvp/.test(name))) return {}
  const folder = [browser && dirname(realpathSync(browser)), '/usr/lib/chromium'].find(
    (folder) => folder && existsSync(join(folder, 'vk_swiftshader_icd.json')),
  )
  if (!folder) return {}
  // Only the loader: the folder's other libraries are the browser's alone.
  const loader = join(tmpdir(), 'ddpm-vulkan')
  const link = join(loader, 'libvulkan.so.1')
  mkdirSync(loader, { recursive: true })
  if (!existsSync(link)) symlinkSync(join(folder, 'libvulkan.so.1'), link)
  return {
    VK_ICD_FILENAMES: join(folder, 'vk_swiftshader_icd.json'),
    LD_LIBRARY_PATH: [loader, ...(env['LD_LIBRARY_PATH']?.split(delimiter) ?? [])].join(delimiter),
  }
}
