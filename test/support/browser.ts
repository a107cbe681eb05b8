import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { type Browser, chromium } from 'playwright-core'

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

/**
 * Starts the browser, headless.
 * @param webgpu whether it has a WebGPU adapter
 * @param args further arguments of its command line
 * @throws UserError where there is no browser
 */
export function launch({
  webgpu = true,
  args = [],
}: {
  webgpu?: boolean
  args?: readonly string[]
} = {}): Promise<Browser> {
  const executablePath = findBrowser()
  if (!executablePath) {
    throw new UserError(
      'No Chrome or Chromium was found. Install one, or set CHROME_PATH to its program file.',
    )
  }
  return chromium.launch({
    executablePath,
    // The sandbox needs rights that containers seldom give; the pages are our own.
    args: [
      '--no-sandbox',
      ...(webgpu ? swiftShader : ['--disable-features=WebGPU', '--disable-gpu']),
      ...args,
    ],
  })
}
