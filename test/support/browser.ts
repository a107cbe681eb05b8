import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'

const programNames = [
  'chromium',
  'chromium-browser',
  'google-chrome-stable',
  'google-chrome',
  'microsoft-edge',
]

const installPaths = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe',
]

/**
 * Finds a Chromium-based browser in `CHROME_PATH`, the PATH or the usual install paths. Returns its path, or null.
 * @throws UserError if `CHROME_PATH` is not a file
 */
export function findBrowser(env: NodeJS.ProcessEnv = process.env): string | null {
  const configured = env['CHROME_PATH']
  if (configured) {
    if (existsSync(configured)) return configured
    throw new UserError(
      `Invalid CHROME_PATH "${configured}": the file does not exist. Set it to the path of Chrome or Chromium, or unset it.`,
    )
  }
  const onPath = (env['PATH'] ?? '')
    .split(delimiter)
    .flatMap((folder) => programNames.map((name) => join(folder, name)))
  return [...onPath, ...installPaths].find((path) => existsSync(path)) ?? null
}

/** Flags for WebGPU without a GPU: SwiftShader runs shaders on the CPU. */
const swiftShader = [
  '--enable-unsafe-webgpu',
  '--enable-features=Vulkan,WebGPU',
  '--use-webgpu-adapter=swiftshader',
]

interface LaunchOptions {
  /** Whether the browser has a WebGPU adapter. Default: true. */
  readonly webgpu?: boolean
  /** Additional command-line arguments. */
  readonly args?: readonly string[]
}

/**
 * Starts a headless browser.
 * @throws UserError if there is no browser
 */
export function launch(options: LaunchOptions = {}): Promise<Browser> {
  return chromium.launch(launchOptions(options))
}

/**
 * Starts a headless browser with a profile folder, like the browser of a visitor. Contexts of `launch` are like private
 * windows, which store less.
 * @throws UserError if there is no browser
 */
export function launchWithProfile(folder: string, options: LaunchOptions = {}): Promise<BrowserContext> {
  return chromium.launchPersistentContext(folder, launchOptions(options))
}

/** Presents SwiftShader as a GPU: the sampler does not choose software adapters by default. */
export function presentAsGpu(target: BrowserContext | Page): Promise<unknown> {
  return target.addInitScript(() => {
    Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false })
  })
}

function launchOptions({ webgpu = true, args = [] }: LaunchOptions) {
  const executablePath = findBrowser()
  if (!executablePath) {
    throw new UserError('Cannot find Chrome or Chromium. Install it, or set CHROME_PATH to its executable.')
  }
  return {
    executablePath,
    // Containers rarely allow the sandbox. The tests only open their own pages.
    args: [
      '--no-sandbox',
      ...(webgpu ? swiftShader : ['--disable-features=WebGPU', '--disable-gpu']),
      ...args,
    ],
  }
}
