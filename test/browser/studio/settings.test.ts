import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { toRgba } from '@ddpm/shared'
import { launch } from '../../support/browser.ts'
import { assertSameImages } from '../../support/images.ts'
import {
  eventually,
  lockSeed,
  quickOptions,
  quickSettings,
  readCanvas,
  readImages,
  seek,
  useStudio,
  waitForImages,
} from '../../support/studio-page.ts'

/** Compares images from Chromium, served by workerd, with images from Node. */
describe('studio: settings and generation', { timeout: 900_000 }, () => {
  const session = useStudio()
  const { open } = session

  test('the page shows noise and then generates images without any interaction', async () => {
    const { studio } = session
    const page = await open('/')
    await waitForImages(page)
    const { searchParams } = new URL(page.url())
    const [seed, count] = [Number(searchParams.get('seed')), Number(searchParams.get('count'))]
    assert.equal(count, 8)
    assertSameImages(await readImages(page), await studio.generate({ seed, count }))
    // The timeline begins with the start noise of each image.
    await seek(page, 0)
    const noise = Array.from({ length: count }, (_, i) => [
      ...toRgba(session.noiseOf(seed, i), 0, studio.manifest.shape),
    ])
    assertSameImages(await readImages(page), noise)
    assert.equal(await page.getAttribute('#time', 'aria-valuetext'), 'before the first step')
    await page.close()
  })

  test('every setting takes effect, and the link generates the same images again', async () => {
    const { studio } = session
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    await page.fill('#count', '3')
    await page.fill('#seed', '12')
    await page.selectOption('#class', 'light')
    await page.fill('#guidance', '2')
    await page.fill('#steps', '7')
    await page.locator('#advanced summary').click()
    await page.selectOption('#spacing', 'quadratic')
    await page.fill('#eta', '0.5')
    await page.fill('#rescale', '0.7')
    // Enter submits the form.
    await page.locator('#seed').press('Enter')
    await waitForImages(page, 3)
    const options = { seed: 12, count: 3, className: 'light', guidance: 2, guidanceRescale: 0.7, steps: 7 }
    assertSameImages(
      await readImages(page),
      await studio.generate({ ...options, sampler: 'ddim', spacing: 'quadratic', eta: 0.5 }),
    )

    await page.selectOption('#sampler', 'unipc')
    await page.selectOption('#order', '3')
    await page.selectOption('#spacing', 'karras')
    assert.equal(await page.locator('#eta').isVisible(), false)
    await page.locator('#generate').click()
    await waitForImages(page, 3)
    const images = await readImages(page)
    assertSameImages(
      images,
      await studio.generate({ ...options, sampler: 'unipc', spacing: 'karras', order: 3 }),
    )

    await page.getByRole('button', { name: 'Copy link' }).click()
    await page.getByText('Link copied.').first().waitFor()
    const link = await page.evaluate(() => navigator.clipboard.readText())
    const second = await open(link.slice(studio.url.length))
    await waitForImages(second, 3)
    assert.deepEqual(await readImages(second), images)
    await second.close()
    await page.close()
  })

  test('generating again takes a new seed, unless the seed is locked', async () => {
    const { studio } = session
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    const generateAgain = async () => {
      await page.$eval('#announcement', (element) => element.replaceChildren())
      await page.locator('#generate').click()
      await waitForImages(page)
      return { seed: Number(await page.inputValue('#seed')), images: await readImages(page) }
    }
    await page.getByText('new each time').waitFor()
    const second = await generateAgain()
    assert.notEqual(second.seed, 11)
    assertSameImages(second.images, await studio.generate({ ...quickOptions, seed: second.seed }))
    await lockSeed(page)
    await page.getByText('locked', { exact: true }).waitFor()
    assert.deepEqual(await generateAgain(), second)
    await lockSeed(page)
    assert.notEqual((await generateAgain()).seed, second.seed)
    // A seed that the visitor types is locked.
    await page.fill('#seed', '11')
    assert.equal(await page.getAttribute('#lock-seed', 'aria-pressed'), 'true')
    assert.equal((await generateAgain()).seed, 11)
    assert.equal((await generateAgain()).seed, 11)

    // The seed of variations names an existing image: the second seed changes instead.
    await lockSeed(page)
    await page.getByRole('button', { name: 'Variations' }).click()
    await waitForImages(page)
    const secondSeed = await page.inputValue('#second-seed')
    assert.equal((await generateAgain()).seed, 11)
    assert.notEqual(await page.inputValue('#second-seed'), secondSeed)
    await page.close()
  })

  test('Back and Forward return to the images of each generation', async () => {
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    const visits: { steps: string; url: string; images: number[][] }[] = []
    for (const steps of ['5', '3', '4', '2', '6', '7']) {
      if (visits.length > 0) {
        await page.fill('#steps', steps)
        await page.$eval('#announcement', (element) => element.replaceChildren())
        await page.locator('#generate').click()
        await waitForImages(page)
      }
      visits.push({ steps, url: page.url(), images: await readImages(page) })
    }
    const shows = ({ steps, url, images }: (typeof visits)[number]) =>
      eventually(async () => {
        assert.equal(page.url(), url)
        assert.equal(await page.inputValue('#steps'), steps)
        assert.equal(await page.locator('#play').isEnabled(), true)
        assert.deepEqual(await readImages(page), images)
      })
    // The latest generations are still in memory; the first ones are generated again.
    for (const visit of visits.slice(0, -1).reverse()) {
      await page.evaluate(() => history.back())
      await shows(visit)
    }
    await page.evaluate(() => history.go(2))
    await shows(visits[2]!)
    await page.close()
  })

  test('WebGPU generates the same images', async () => {
    const { studio } = session
    const other = await launch({ webgpu: true })
    try {
      const page = await open(`/?${quickSettings}`, await other.newContext({ serviceWorkers: 'block' }))
      await page.locator('#advanced summary').click()
      await page.selectOption('#run-on', 'webgpu')
      await lockSeed(page)
      await waitForImages(page)
      await page.locator('#generate').click()
      await waitForImages(page)
      assert.match((await page.textContent('#device'))!, /^Runs on WebGPU/)
      assertSameImages(await readImages(page), await studio.generate(quickOptions))
      await seek(page, 0)
      const noise = [...toRgba(session.noiseOf(11, 0), 0, studio.manifest.shape)]
      assertSameImages([await readCanvas(page, '#current')], [noise])
      await page.close()
    } finally {
      await other.close()
    }
  })

  test('an unavailable device is reported, and the cache can be cleared', async () => {
    const context = await session.browser.newContext({ serviceWorkers: 'block' })
    const page = await open(`/?${quickSettings}`, context)
    await waitForImages(page)
    await page.locator('#advanced summary').click()
    await page.getByText(/^This browser has cached \d+ files \([\d.]+ MB\)/).waitFor()
    await page.getByRole('button', { name: 'Clear cache' }).click()
    await page.locator('#cached-files').waitFor({ state: 'hidden' })
    const cachedBytes = await page.evaluate(async () => {
      const { cacheInfo } = (await import(
        '/sampler.js' as string
      )) as typeof import('../../../edge/sampler/browser.ts')
      return (await cacheInfo()).bytes
    })
    assert.equal(cachedBytes, 0)
    await page.selectOption('#run-on', 'webgpu')
    await page.locator('#generate').click()
    await page
      .getByRole('alert')
      .filter({ hasText: /webgpu.* Choose the device "auto" or "wasm"/i })
      .waitFor()
    await page.selectOption('#run-on', 'wasm')
    await page.locator('#generate').click()
    await waitForImages(page)
    assert.match((await page.textContent('#device'))!, /^Runs on WebAssembly, \d threads?: as requested/)
    await context.close()
  })

  test('a generation can be stopped, and another one started', async () => {
    const page = await open('/?model=test/discs&seed=1&count=64&sampler=ddpm&steps=1000')
    await page.getByText(/^Step \d+ of 1000/).waitFor()
    await page.getByRole('button', { name: 'Stop' }).click()
    await page.locator('#progress-text').filter({ hasText: 'Stopped.' }).waitFor()
    await page.fill('#steps', '4')
    await page.fill('#count', '2')
    await page.locator('#generate').click()
    await waitForImages(page, 2)
    assertSameImages(
      await readImages(page),
      await session.studio.generate({ seed: 1, count: 2, sampler: 'ddpm', steps: 4, guidance: 1.5 }),
    )
    await page.close()
  })

  test('an invalid link is explained, and the page still works', async () => {
    for (const [link, message] of [
      ['?model=test/nothing&seed=1', /test\/nothing/],
      ['?model=test/discs&seed=1&class=cold', /class "cold".*light, warm/],
      ['?model=test/discs&seed=-1', /"seed=-1" in the link: expected/],
      ['?model=test/discs&seed=1#picture=AAAA', /Cannot read the image in the link/],
    ] as const) {
      const page = await open(`/${link}`)
      await page.getByRole('alert').filter({ hasText: message }).waitFor()
      await page.locator('#generate:enabled').waitFor()
      await page.close()
    }
  })

  test('nothing is downloaded without a click if the visitor saves data', async () => {
    const context = await session.browser.newContext({ serviceWorkers: 'block' })
    await context.addInitScript(
      "Object.defineProperty(navigator, 'connection', { value: { saveData: true } })",
    )
    const requests: string[] = []
    const page = await open('/', context, (url) => requests.push(url))
    await page.locator('#generate:enabled').waitFor()
    await page.waitForTimeout(500)
    assert.deepEqual(
      requests.filter((url) => /worker|wasm/.test(url)),
      [],
    )
    await page.locator('#generate').click()
    await waitForImages(page)
    await context.close()
  })

  test('intermediate images are rendered unless the visitor prefers reduced motion', async () => {
    for (const reducedMotion of ['reduce', 'no-preference'] as const) {
      const context = await session.browser.newContext({ serviceWorkers: 'block', reducedMotion })
      await context.addInitScript(`window.paints = 0
        const put = CanvasRenderingContext2D.prototype.putImageData
        CanvasRenderingContext2D.prototype.putImageData = function (...args) {
          if (this.canvas.closest('#contact-sheet')) window.paints++
          return put.apply(this, args)
        }`)
      const page = await open('/?model=test/discs&seed=1&count=1&sampler=ddpm&steps=200', context)
      await waitForImages(page, 1)
      const paints = await page.evaluate(() => (window as unknown as { paints: number }).paints)
      // The noise and the result are each painted at least once.
      if (reducedMotion === 'reduce') assert.ok(paints <= 8, `${paints} paints`)
      else assert.ok(paints > 8, `${paints} paints`)
      await context.close()
    }
  })
})
