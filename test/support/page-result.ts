import type { Browser, Page } from 'playwright-core'

/** What a page of `test/frameworks/projects` stores in `globalThis.result`. */
export interface PageResult {
  readonly images: number[][]
  /** Device in use, as text. */
  readonly device: string
}

/**
 * Opens a page and waits until it has generated images.
 * @throws Error with the page's error, its console and the responses with an error status
 */
export async function openAndGenerate(
  browser: Browser,
  url: string,
  inspect: (page: Page) => Promise<void> = async () => {},
): Promise<PageResult> {
  const page = await browser.newPage()
  const log: string[] = []
  page.on('console', (message) => log.push(message.text()))
  page.on('pageerror', (error) => log.push(String(error)))
  page.on('response', (response) => {
    if (response.status() >= 400) log.push(`${response.status()} ${response.url()}`)
  })
  try {
    await page.goto(url)
    // Allows for other work on the machine.
    await page.waitForFunction(() => globalThis.result, null, { timeout: 240_000 })
    const result = await page.evaluate(() => globalThis.result!)
    if ('error' in result) throw new Error(result.error)
    await inspect(page)
    return result
  } catch (error) {
    throw new Error([`${url}: ${(error as Error).message}`, ...log].join('\n'))
  } finally {
    await page.close()
  }
}

declare global {
  var result: PageResult | { readonly error: string } | undefined
}
