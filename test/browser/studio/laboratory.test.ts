import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Page } from 'playwright-core'
import { violations } from '../../support/accessibility.ts'
import { eventually, readCanvas, useStudio } from '../../support/studio-page.ts'

describe('the laboratory of the explanation', { timeout: 300_000 }, () => {
  const session = useStudio()

  test('it trains on a shape, shows the score, and samples trajectories', async () => {
    const context = await session.browser.newContext({ serviceWorkers: 'block', reducedMotion: 'reduce' })
    const requests: string[] = []
    const page = await session.open('/explain/', context, (url) => requests.push(url))
    const errors: string[] = []
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
    await page.getByText(/^Mean squared error of the predicted noise: [\d.]+/).waitFor()
    const isLoaded = () => requests.some((url) => url.endsWith('/explain/laboratory.js'))
    assert.equal(isLoaded(), false, 'the script waits for the visitor')

    await page.locator('#laboratory').scrollIntoViewIfNeeded()
    const train = page.locator('#train')
    await page.getByRole('button', { name: 'Ring of blobs' }).click()
    assert.ok(isLoaded())
    await labelled(page, '#points', /Ring of blobs: 600 points/)
    await labelled(page, '#field', /no arrows/)
    const untrained = await readCanvas(page, '#path-ddim')

    await page.getByRole('button', { name: 'Clear the points' }).click()
    assert.equal(await train.isDisabled(), true)
    await page.getByRole('button', { name: 'Ring of blobs' }).click()

    // Stop and resume.
    await train.click()
    await page.getByText(/^Step [\d,]+ of 2,000, loss [\d.]+/).waitFor()
    await page.getByRole('button', { name: 'Stop' }).click()
    await page
      .getByText(/^Stopped after [\d,]+ steps/)
      .first()
      .waitFor()
    await page.getByRole('button', { name: 'Resume' }).click()
    await page
      .locator('#announcement')
      .filter({ hasText: /^Trained after 2,000 steps, loss 0\.\d+/ })
      .waitFor({ state: 'attached', timeout: 120_000 })
    await labelled(page, '#field', /arrows of the score/)

    for (const steps of [5, 50]) {
      await page.selectOption('#path-steps', String(steps))
      for (const id of ['#path-ddpm', '#path-ddim', '#path-dpmpp']) {
        await labelled(page, id, new RegExp(`60 samples of .* with ${steps} steps`))
      }
    }
    assert.notDeepEqual(await readCanvas(page, '#path-ddim'), untrained)
    // The radius of a blob is about 0.1. Without training, the mean distance is about 0.4.
    const distance = Number(await page.locator('#path-ddpm-distance').textContent())
    assert.ok(distance < 0.1, `mean distance ${distance}`)

    const field = await readCanvas(page, '#field')
    await page.locator('#field-t').fill('600')
    assert.notDeepEqual(await readCanvas(page, '#field'), field)
    assert.match((await page.locator('#field-t').getAttribute('aria-valuetext'))!, /^t = 600, \d+ % noise$/)
    assert.deepEqual(await violations(page), [])

    // Drawing adds points and discards the network.
    await page.locator('#points').scrollIntoViewIfNeeded()
    const { x, y, width } = (await page.locator('#points').boundingBox())!
    await page.mouse.move(x + width / 4, y + width / 2)
    await page.mouse.down()
    await page.mouse.move(x + (3 * width) / 4, y + width / 2)
    await page.mouse.up()
    await labelled(page, '#points', /\. 6[2-9]\d points/)
    await labelled(page, '#field', /no arrows/)
    assert.equal(await train.textContent(), 'Train')
    assert.deepEqual(errors, [])
    await context.close()
  })
})

/** Waits until the accessible name of an element matches. */
function labelled(page: Page, selector: string, label: RegExp): Promise<void> {
  return eventually(async () => {
    assert.match((await page.locator(selector).getAttribute('aria-label'))!, label)
  })
}
