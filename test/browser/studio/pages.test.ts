import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  convertOutput,
  createSchedule,
  fromSchedulerConfig,
  generate,
  qSample,
  toRgba,
  x0Weights,
} from '@ddpm/shared'
import type { Page } from 'playwright-core'
import { violations } from '../../support/accessibility.ts'
import { assertSameImages } from '../../support/images.ts'
import {
  eventually,
  lockSeed,
  quickSettings,
  readCanvas,
  readImages,
  useStudio,
  waitForImages,
} from '../../support/studio-page.ts'

describe('studio: explanation, accessibility and offline use', { timeout: 900_000 }, () => {
  const session = useStudio()
  const { open } = session

  test('the explanation adds noise as DDPM defines it and shows the model’s prediction', async () => {
    const { studio } = session
    // The server redirects the address without a slash.
    const page = await open('/explain')
    assert.equal(page.url(), `${studio.url}/explain/`)
    await waitForPrediction(page)
    await page.getByRole('button', { name: 'Sample 4 of the model' }).waitFor()
    const x0 = await firstSample()
    await page.locator('#t').fill('250')
    await page.waitForFunction(() => /t = 250/.test(document.querySelector('#t-text')!.textContent!))
    const { shape, scheduler } = studio.manifest
    const meaning = fromSchedulerConfig(scheduler)
    const schedule = createSchedule(meaning.schedule)
    const epsilon = session.noiseOf(1, 0)
    const xt = qSample(schedule.alphasCumprod[250]!, x0, epsilon)
    assertSameImages([await readCanvas(page, '#xt')], [[...toRgba(xt, 0, shape)]])
    const noClass = studio.manifest.classes.length
    const predictedImage = async (label: number) => {
      const output = await studio.network(xt, Float32Array.of(250), Float32Array.of(label))
      const weights = x0Weights(meaning.predictionType, schedule.alphasCumprod[250]!)
      const x0 = convertOutput(weights, { xt, output, count: 1 }, new Float32Array(xt.length))
      return [...toRgba(x0, 0, shape)]
    }
    const expected = await predictedImage(noClass)
    await eventually(async () => assertSameImages([await readCanvas(page, '#predicted-x0')], [expected]))
    await page.selectOption('#class', 'warm')
    const warm = await predictedImage(1)
    await eventually(async () => assertSameImages([await readCanvas(page, '#predicted-x0')], [warm]))

    await page.getByRole('button', { name: 'All steps' }).click()
    await page.locator('#reverse-t').filter({ hasText: 'the end' }).waitFor()
    assert.equal(await page.locator('#one-step').isDisabled(), true)
    await page.locator('#own-image summary').click()
    await page.locator('#board').scrollIntoViewIfNeeded()
    const before = await readCanvas(page, '#x0')
    await page.locator('#board').click()
    assert.notDeepEqual(await readCanvas(page, '#x0'), before)
    await page.close()
  })

  /** Generates the first sample that the explanation offers. */
  function firstSample(): Promise<Float32Array> {
    const options = { seed: 1, count: 1, sampler: 'dpmpp', order: 2, steps: 15 } as const
    return generate(session.studio.manifest, session.studio.network, options)
  }

  for (const colorScheme of ['light', 'dark'] as const) {
    for (const width of [1366, 360]) {
      test(`axe finds no violations, and nothing scrolls sideways: ${colorScheme}, ${width} pixels`, async () => {
        const context = await session.browser.newContext({
          serviceWorkers: 'block',
          colorScheme,
          viewport: { width, height: 740 },
          hasTouch: width === 360,
        })
        for (const path of [`/?${quickSettings}`, '/explain/']) {
          const page = await open(path, context)
          const isExplanation = path === '/explain/'
          await (isExplanation ? waitForPrediction(page) : waitForImages(page))
          if (isExplanation) {
            await page.locator('#own-image summary').click()
          } else {
            await page.locator('#advanced summary').click()
            await lockSeed(page)
            await page.getByRole('button', { name: 'Favourite', exact: true }).click()
            await page.getByRole('button', { name: 'Enlarge' }).click()
            assert.deepEqual(await violations(page), [], 'enlarged image')
            await page.getByRole('button', { name: 'Close' }).click()
          }
          const panels = isExplanation ? ['noise'] : ['noise', 'image', 'variation', 'interpolation']
          for (const panel of panels) {
            if (panel !== 'noise')
              await page.locator(`input[name="start"][value="${panel}"]`).check({ force: true })
            if (panel === 'image') await page.locator('#inpaint').check()
            assert.deepEqual(await violations(page), [], `${path} ${panel}`)
            assert.ok(
              (await page.evaluate(() => document.documentElement.scrollWidth)) <= width,
              `${path} ${panel}`,
            )
          }
          await page.close()
        }
        await context.close()
      })
    }
  }

  test('with a full quota, the page gets fresh responses from the server', async () => {
    const context = await session.browser.newContext()
    const page = await open(`/?${quickSettings}`, context)
    await waitForImages(page)
    await page.waitForFunction(() => navigator.serviceWorker.controller)
    const devTools = await context.newCDPSession(page)
    await devTools.send('Storage.overrideQuotaForOrigin', { origin: session.studio.url, quotaSize: 1 })
    const requestIds = await page.evaluate(async () => {
      const paths = ['/api/models', '/api/models', '/api/models?q=never-cached']
      const ids = []
      for (const path of paths) ids.push((await fetch(path)).headers.get('X-Request-Id'))
      return ids
    })
    assert.equal(new Set(requestIds).size, 3, 'no response is a cached one')
    await page.reload()
    await waitForImages(page)
    await context.close()
  })

  test('after the first visit, studio and explanation work offline', async () => {
    const { studio } = session
    const context = await session.browser.newContext()
    const page = await open(`/?${quickSettings}`, context)
    await waitForImages(page)
    await page.evaluate(async () => {
      const isCached = async (path: string) =>
        (await (await caches.open('ddpm-answers')).match(path)) !== undefined
      while (!((await isCached('/api/models')) && (await isCached('/api/models/test/discs')))) {
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    })
    const images = await readImages(page)
    await context.setOffline(true)
    await page.goto(`${studio.url}/?${quickSettings}`)
    await waitForImages(page)
    assert.deepEqual(await readImages(page), images)
    assert.equal(await page.evaluate(() => crossOriginIsolated), true)
    await page.getByRole('link', { name: 'How it works' }).click()
    await waitForPrediction(page)
    await context.close()
  })
})

/** Waits until the explanation shows a prediction of the model. */
async function waitForPrediction(page: Page): Promise<void> {
  await page.getByText(/^Mean squared error of the predicted noise: [\d.]+/).waitFor()
}
