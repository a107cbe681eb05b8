import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { Page } from 'playwright-core'

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

/** Window sizes of phones, tablets and laptops. */
export const windowSizes = [
  { width: 360, height: 740 },
  { width: 768, height: 1024 },
  { width: 1366, height: 682 },
  { width: 1440, height: 900 },
] as const

/** Returns the accessibility violations that axe finds. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(await readFile(axe, 'utf8'))
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: {
        run(): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }>
      }
    }
    const { violations } = await axe.run()
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
    )
  })
}

/** Presses Tab through the whole page. Returns every stop, with whether another element covers it (WCAG 2.4.11). */
export async function tabStops(page: Page): Promise<{ name: string; isCovered: boolean }[]> {
  // Tab starts at the last click or focus: at the body, it starts with the first control.
  await page.evaluate(() => {
    document.body.tabIndex = -1
    document.body.focus()
    document.body.removeAttribute('tabindex')
    scrollTo(0, 0)
  })
  const stops: { name: string; isCovered: boolean }[] = []
  const maxStops = 150
  while (stops.length < maxStops) {
    await page.keyboard.press('Tab')
    const stop = await page.evaluate(() => {
      const focused = document.activeElement as HTMLElement
      if (focused === document.body) return null
      const isVisibleAt = (x: number, y: number) => {
        const hit = document.elementFromPoint(x, y)
        // The label of a hidden input represents it.
        return hit !== null && [focused, focused.closest('label')].some((element) => element?.contains(hit))
      }
      // A link that wraps has one rectangle per line.
      const isCovered = Array.from(focused.getClientRects()).some(({ left, top, bottom, width, height }) => {
        const x = left + width / 2
        return !isVisibleAt(x, top + height / 2) || !isVisibleAt(x, Math.max(bottom - 3, top + height / 2))
      })
      return { name: focused.id || focused.outerHTML.slice(0, 80), isCovered }
    })
    if (stop === null) return stops
    stops.push(stop)
  }
  throw new Error(`The focus did not leave the page after ${maxStops} stops.`)
}
