import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, test } from 'node:test'
import { toRgba } from '@ddpm/shared'
import type { Page } from 'playwright-core'
import sharp from 'sharp'
import { parseChunks } from '../../../edge/studio/ui/apng.ts'
import {
  quickSettings,
  readCanvas,
  readImages,
  seek,
  useStudio,
  waitForImages,
} from '../../support/studio-page.ts'

describe('studio: results', { timeout: 900_000 }, () => {
  const session = useStudio()
  const { open } = session

  test('the timeline shows the images and the predicted x̂₀ at every step', async () => {
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    const end = await readImages(page)
    assert.equal(await page.getAttribute('#time', 'max'), '5')
    await seek(page, 2)
    assert.match((await page.getAttribute('#time', 'aria-valuetext'))!, /^step 2 of 5, t = \d+$/)
    const middle = await readImages(page)
    const [x, x0] = [await readCanvas(page, '#current'), await readCanvas(page, '#predicted-x0')]
    assert.deepEqual(x, middle[0])
    // Half way, the predicted image is closer to the result than the current image.
    assert.ok(distance(x0, end[0]!) < distance(x, end[0]!))
    await page.getByRole('button', { name: 'Image 4', exact: true }).click()
    assert.deepEqual(await readCanvas(page, '#current'), middle[3])
    await page.getByRole('button', { name: 'Play' }).click()
    await page.locator('#play[aria-pressed="false"]').waitFor()
    assert.deepEqual(await readImages(page), end)
    assert.equal(await page.locator('.chart .dots path').count(), 6)
    await page.close()
  })

  test('images and animations can be downloaded', async () => {
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    const images = await readImages(page)
    const download = async (button: string) => {
      const [file] = await Promise.all([
        page.waitForEvent('download'),
        page.getByRole('button', { name: button }).click(),
      ])
      return { name: file.suggestedFilename(), contents: await readFile(await file.path()) }
    }
    await page.getByRole('button', { name: 'Image 3', exact: true }).click()
    await page.getByRole('button', { name: 'Enlarge' }).click()
    const original = await download('Download PNG, 8 × 8')
    assert.equal(original.name, 'discs-seed11-3.png')
    assert.deepEqual([...(await sharp(original.contents).ensureAlpha().raw().toBuffer())], images[2])
    await page.getByRole('button', { name: 'Close' }).click()

    const animation = await download('Download animation')
    assert.equal(animation.name, 'discs-seed11-3-denoising.png')
    assert.equal(parseChunks(animation.contents).filter(({ type }) => type === 'fcTL').length, 6)
    const first = await sharp(animation.contents)
      .resize(8, 8, { kernel: 'nearest' })
      .ensureAlpha()
      .raw()
      .toBuffer()
    assert.deepEqual([...first], [...toRgba(session.noiseOf(11, 2), 0, session.studio.manifest.shape)])
    assert.equal(await countFrames(page, animation.contents), 6)

    const grid = await download('Download all')
    assert.equal(grid.name, 'discs-seed11.png')
    await page.close()
  })

  test('history and favourites are available on the next visit', async () => {
    const context = await session.browser.newContext({ serviceWorkers: 'block' })
    const requests: string[] = []
    const page = await open(`/?${quickSettings}`, context, (url) => requests.push(url))
    await waitForImages(page)
    const images = await readImages(page)
    await page.getByRole('button', { name: 'Image 2', exact: true }).click()
    await page.getByRole('button', { name: 'Favourite', exact: true }).click()
    assert.equal(await page.getAttribute('#favourite', 'aria-pressed'), 'true')
    await page.fill('#seed', '99')
    await page.locator('#generate').click()
    await waitForImages(page)
    await page.reload()
    await waitForImages(page)
    const titles = await page
      .locator('#history button')
      .evaluateAll((buttons) => buttons.map((button) => (button as HTMLElement).title))
    assert.deepEqual(
      titles.map((title) => /seed \d+/.exec(title)![0]),
      ['seed 99', 'seed 11'],
    )
    // Clears the announcement of the previous generation, which `waitForImages` would find.
    await page.$eval('#announcement', (element) => element.replaceChildren())
    requests.length = 0
    await page.locator('#favourites button').click()
    await waitForImages(page)
    assert.deepEqual(await readImages(page), images)
    // The manifest is fetched once per visit.
    assert.deepEqual(
      requests.filter((url) => url.includes('/api/')),
      [],
    )
    assert.equal(
      await page.getByRole('button', { name: 'Image 2', exact: true }).getAttribute('aria-pressed'),
      'true',
    )
    await page.getByRole('button', { name: 'Favourite', exact: true }).click()
    assert.equal(await page.locator('#favourites button').count(), 0)
    await page.getByText('Mark an image as a favourite to keep it here.').waitFor()
    await context.close()
  })
})

function distance(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]!), 0)
}

/** Returns the number of frames that the browser itself finds in an animated PNG. */
function countFrames(page: Page, file: Buffer): Promise<number> {
  return page.evaluate(
    async (bytes) => {
      const decoder = new (
        globalThis as unknown as {
          ImageDecoder: new (
            init: object,
          ) => {
            tracks: { ready: Promise<void>; selectedTrack: { frameCount: number } }
            completed: Promise<void>
          }
        }
      ).ImageDecoder({ data: Uint8Array.from(bytes), type: 'image/png' })
      await decoder.completed
      await decoder.tracks.ready
      return decoder.tracks.selectedTrack.frameCount
    },
    [...file],
  )
}
