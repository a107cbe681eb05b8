import assert from 'node:assert/strict'
import { after, afterEach, before } from 'node:test'
import { fillNoise } from '@ddpm/shared'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import sharp from 'sharp'
import { launch } from './browser.ts'
import { openStudio, type Studio } from './studio.ts'

/** Settings for quick generation, as the query of a link. */
export const quickSettings = 'model=test/discs&seed=11&count=4&sampler=ddim&steps=5'
/** The same settings as options of `generate`, with the model's default guidance. */
export const quickOptions = { seed: 11, count: 4, sampler: 'ddim', steps: 5, guidance: 1.5 } as const

/** Context of a small phone with a touch screen. */
export const phoneContext = {
  serviceWorkers: 'block',
  viewport: { width: 360, height: 740 },
  hasTouch: true,
  isMobile: true,
} as const

/** A studio in a browser. Its properties can be used only while tests run. */
export interface StudioBrowser {
  readonly studio: Studio
  readonly browser: Browser
  /** Opens a page of the studio. The test fails if the page has errors. */
  open(path: string, context?: BrowserContext, onRequest?: (url: string) => void): Promise<Page>
  /** Opens the link of a page in a second page, checks that it generates the same images, and closes both. */
  assertLinkRepeats(page: Page, expected: number[][]): Promise<void>
  /** Returns the start noise of an image. */
  noiseOf(seed: number, image: number): Float32Array
  /** Decodes an image of a link. Returns its RGBA bytes, and its values in the format of the model's input. */
  decodeLinkImage(text: string): Promise<{ bytes: number[]; values: Float32Array }>
}

/** Starts a server and a browser before the tests of the surrounding suite, and stops them afterwards. */
export function useStudio(): StudioBrowser {
  let studio: Studio
  let browser: Browser
  let defaultContext: BrowserContext

  before(async () => {
    studio = await openStudio()
    browser = await launch({ webgpu: false })
    defaultContext = await browser.newContext({
      serviceWorkers: 'block',
      permissions: ['clipboard-read', 'clipboard-write'],
    })
  })
  after(async () => {
    await browser?.close()
    await studio?.stop()
  })

  /** Uncaught errors and violations of the Content Security Policy. */
  const pageErrors: string[] = []
  afterEach(() => assert.deepEqual(pageErrors.splice(0), []))

  const open: StudioBrowser['open'] = async (path, context = defaultContext, onRequest) => {
    const page = await context.newPage()
    page.on('pageerror', (error) => pageErrors.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy/.test(message.text()))
        pageErrors.push(message.text())
    })
    if (onRequest) page.on('request', (request) => onRequest(request.url()))
    await page.goto(`${studio.url}${path}`)
    return page
  }

  return {
    get studio() {
      return studio
    },
    get browser() {
      return browser
    },
    open,
    async assertLinkRepeats(page, expected) {
      const second = await open(page.url().slice(studio.url.length))
      await waitForImages(second, expected.length)
      assert.deepEqual(await readImages(second), expected)
      await second.close()
      await page.close()
    },
    noiseOf(seed, image) {
      const { channels, height, width } = studio.manifest.shape
      const noise = new Float32Array(channels * height * width)
      fillNoise(seed, [image], 0, noise)
      return noise
    },
    async decodeLinkImage(text) {
      const data = await sharp(Buffer.from(text, 'base64url')).ensureAlpha().raw().toBuffer()
      const { channels, height, width } = studio.manifest.shape
      const plane = height * width
      const values = Float32Array.from(
        { length: channels * plane },
        (_, i) => data[(i % plane) * 4 + Math.floor(i / plane)]! / 127.5 - 1,
      )
      return { bytes: [...data], values }
    },
  }
}

/** Waits until a generation is finished. */
export async function waitForImages(page: Page, count?: number): Promise<void> {
  const number = count === undefined ? String.raw`\d+` : String(count)
  await page.locator('#generate[type="submit"]').waitFor({ timeout: 120_000 })
  await page
    .locator('#announcement')
    .filter({ hasText: new RegExp(`^Generated ${number} images? in `) })
    .waitFor({ state: 'attached', timeout: 120_000 })
}

/** Locks the seed, so that the next generation repeats it. */
export async function lockSeed(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Lock the seed' }).click()
}

/** Returns the RGBA bytes of each image on the contact sheet. */
export function readImages(page: Page): Promise<number[][]> {
  return page.$$eval('#contact-sheet canvas', (canvases) =>
    canvases.map((element) => {
      const canvas = element as HTMLCanvasElement
      return [...canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data]
    }),
  )
}

/** Returns the RGBA bytes of a canvas. */
export function readCanvas(page: Page, selector: string): Promise<number[]> {
  return page.$eval(selector, (element) => {
    const canvas = element as HTMLCanvasElement
    return [...canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data]
  })
}

/** Moves the timeline to a frame. */
export async function seek(page: Page, frame: number): Promise<void> {
  await page.locator('#time').fill(String(frame))
}

/** Returns the parameters of the fragment of a page's URL. */
export function fragmentOf(page: Page): URLSearchParams {
  return new URLSearchParams(new URL(page.url()).hash.slice(1))
}

export function concat(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]))
}

/** Repeats a check until it passes, for at most 20 seconds. */
export async function eventually(check: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + 20_000
  for (;;) {
    try {
      return await check()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}
