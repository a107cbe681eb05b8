import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { type Browser, type BrowserContext, chromium } from 'playwright-core'

const names = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome', 'microsoft-edge']

const installed = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe',
  'C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe',
]

/**
 * The Chromium-like browser to test with, or null: `CHROME_PATH`, one on the PATH, or one where installers put it.
 * @throws UserError where `CHROME_PATH` names nothing
 */
export function findBrowser(env: NodeJS.ProcessEnv = process.env): string | null {
  const chosen = env['CHROME_PATH']
  if (chosen) {
    if (existsSync(chosen)) return chosen
    throw new UserError(
      `CHROME_PATH is ${chosen}, where there is no file. Set it to a Chrome or Chromium, or unset it.`,
    )
  }
  const onPath = (env['PATH'] ?? '')
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
  return [...onPath, ...installed].find((path) => existsSync(path)) ?? null
}

/** WebGPU without a graphics card: SwiftShader computes on the CPU what a GPU would. */
const swiftShader = [
  '--enable-unsafe-webgpu',
  '--enable-features=Vulkan,WebGPU',
  '--use-webgpu-adapter=swiftshader',
]

interface LaunchOptions {
  /** Whether it has a WebGPU adapter. */
  readonly webgpu?: boolean
  /** Further arguments of its command line. */
  readonly args?: readonly string[]
}

/**
 * Starts the browser, headless.
 * @throws UserError where there is no browser
 */
export function launch(options: LaunchOptions = {}): Promise<Browser> {
  return chromium.launch(launchOptions(options))
}

/**
 * The same with a profile in a folder, as visitors have one: contexts of `launch` keep less, as private windows do.
 * @throws UserError where there is no browser
 */
export function launchWithProfile(folder: string, options: LaunchOptions = {}): Promise<BrowserContext> {
  return chromium.launchPersistentContext(folder, launchOptions(options))
}

function launchOptions({ webgpu = true, args = [] }: LaunchOptions) {
  const executablePath = findBrowser()
  if (!executablePath) {
    throw new UserError(
      'No Chrome or Chromium was found. Install one, or set CHROME_PATH to its program file.',
    )
  }
  return {
    executablePath,
    // The sandbox needs rights that containers seldom give; the pages are our own.
    args: [
      '--no-sandbox',
      ...(webgpu ? swiftShader : ['--disable-features=WebGPU', '--disable-gpu']),
      ...args,
    ],
  }
}
