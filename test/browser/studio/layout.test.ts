import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Page } from 'playwright-core'
import { tabStops, windowSizes } from '../../support/accessibility.ts'
import {
  eventually,
  phoneContext,
  quickSettings,
  readImages,
  useStudio,
  waitForImages,
} from '../../support/studio-page.ts'

describe('studio: layout and keyboard', { timeout: 900_000 }, () => {
  const session = useStudio()
  const { open } = session

  for (const viewport of windowSizes) {
    test(`images stay in place, and no focused control is covered: ${viewport.width} × ${viewport.height}`, async () => {
      const context = await session.browser.newContext({ serviceWorkers: 'block', viewport })
      const page = await open('/?model=test/discs&seed=11&count=8&sampler=ddim&steps=5', context)
      const boxes = () =>
        page.$$eval('.tile canvas', (canvases) =>
          canvases.map((canvas) => {
            const { x, y, width, height } = canvas.getBoundingClientRect()
            return [x, y + scrollY, width, height]
          }),
        )
      await page.locator('.tile').first().waitFor()
      const before = await boxes()
      await waitForImages(page)
      assert.deepEqual(await boxes(), before, 'the first entry of the history moves nothing')
      await page.getByRole('button', { name: 'Favourite', exact: true }).click()
      await page.locator('#favourites .saved-image').waitFor()
      assert.deepEqual(await boxes(), before, 'a favourite moves nothing')
      const [progress, first, last, timeline] = await page.evaluate(() =>
        ['#progress', '.tile', 'li:last-child > .tile', '#timeline'].map((selector) => {
          const { top, bottom } = document.querySelector(selector)!.getBoundingClientRect()
          return { top, bottom }
        }),
      )
      assert.ok(
        progress!.bottom <= first!.top && last!.bottom <= timeline!.top,
        'nothing overlaps the images',
      )

      await page.locator('#advanced summary').click()
      await assertNothingCovered(page)
      await page.locator('input[name="start"][value="image"]').check({ force: true })
      await page.locator('#inpaint').check()
      await assertNothingCovered(page)
      await page.goto(`${session.studio.url}/explain/`)
      await page.getByText(/^Mean squared error of the predicted noise: [\d.]+/).waitFor()
      const slider = (await page.locator('#t').boundingBox())!
      assert.ok(slider.y + slider.height <= viewport.height, 'the explanation starts with the slider')
      await assertNothingCovered(page)
      await context.close()
    })
  }

  test('on a phone, the title stays in view on load, and the images are in view after a tap on the button', async () => {
    const phone = await session.browser.newContext(phoneContext)
    const page = await open(`/?${quickSettings}`, phone)
    await waitForImages(page)
    await page.waitForTimeout(500)
    assert.equal(await page.evaluate(() => scrollY), 0)
    assert.equal(await page.getByRole('heading', { level: 1 }).isVisible(), true)
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight))
    await page.locator('#generate').tap()
    await eventually(async () => {
      const { x, y } = (await page.getByRole('button', { name: 'Image 1', exact: true }).boundingBox())!
      assert.ok(x >= 0 && y >= 0 && y < 600, `the first image is at ${y}`)
    })
    await phone.close()
  })

  test('arrow keys move in the grid, which is one stop of the Tab key', async () => {
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    const focused = () => page.evaluate(() => document.activeElement!.getAttribute('aria-label'))
    await page.getByRole('button', { name: 'Image 1', exact: true }).focus()
    await page.keyboard.press('ArrowRight')
    assert.equal(await focused(), 'Image 2')
    assert.equal(await page.textContent('#selected'), 'Image 2')
    await page.keyboard.press('End')
    assert.equal(await focused(), 'Image 4')
    await page.keyboard.press('Tab')
    assert.doesNotMatch((await focused()) ?? '', /^Image \d/)
    await page.keyboard.press('Shift+Tab')
    assert.equal(await focused(), 'Image 4')

    // While the second image of an interpolation is chosen, arrow keys only move the focus.
    await page.getByRole('button', { name: 'Interpolate' }).click()
    await page.getByRole('button', { name: 'Image 4', exact: true }).focus()
    await page.keyboard.press('Home')
    assert.equal(await page.textContent('#selected'), 'Image 4')
    const images = await readImages(page)
    await page.keyboard.press('Enter')
    await waitForImages(page)
    await eventually(async () => assert.deepEqual((await readImages(page))[0], images[3]))
    await page.close()
  })
})

async function assertNothingCovered(page: Page): Promise<void> {
  const stops = await tabStops(page)
  assert.ok(stops.length > 10, `${stops.length} stops`)
  assert.deepEqual(
    stops.filter(({ isCovered }) => isCovered),
    [],
  )
}
