import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { classOf, slerp } from '@ddpm/shared'
import type { Page } from 'playwright-core'
import sharp from 'sharp'
import { assertSameImages } from '../../support/images.ts'
import {
  concat,
  eventually,
  fragmentOf,
  lockSeed,
  phoneContext,
  quickOptions,
  quickSettings,
  readCanvas,
  readImages,
  useStudio,
  waitForImages,
} from '../../support/studio-page.ts'

describe('studio: what generation starts from', { timeout: 900_000 }, () => {
  const session = useStudio()
  const { open, assertLinkRepeats, noiseOf } = session
  const repeat = (values: Float32Array) => concat([values, values, values, values])

  test('variations of an image start from noise near its own', async () => {
    const { studio } = session
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    const before = await readImages(page)
    await page.getByRole('button', { name: 'Image 3', exact: true }).click()
    await page.getByRole('button', { name: 'Variations' }).click()
    await waitForImages(page)
    const secondSeed = Number(await page.inputValue('#second-seed'))
    const images = await readImages(page)
    assertSameImages(images.slice(0, 1), before.slice(2, 3))
    const original = noiseOf(11, 2)
    const noise = concat(
      [0, 1, 2, 3].map((i) => (i === 0 ? original : slerp(original, noiseOf(secondSeed, i), 0.25))),
    )
    const className = classOf(studio.manifest, { seed: 11, image: 2, name: null })
    assertSameImages(images, await studio.generate({ ...quickOptions, className, noise }))
    await assertLinkRepeats(page, images)
  })

  test('an interpolation follows the arc between the noises of two images', async () => {
    const { studio } = session
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    const before = await readImages(page)
    const classes = [0, 1, 2, 3].map((image) => classOf(studio.manifest, { seed: 11, image, name: null }))
    // Two images of different classes, so that the class changes in the middle.
    const to = classes.findIndex((name) => name !== classes[0])
    assert.ok(to > 0, `${classes}`)
    await page.getByRole('button', { name: 'Image 1', exact: true }).click()
    await page.getByRole('button', { name: 'Interpolate' }).click()
    await page.getByRole('button', { name: `Image ${to + 1}`, exact: true }).click()
    await waitForImages(page)
    const images = await readImages(page)
    assertSameImages([images[0]!, images[3]!], [before[0]!, before[to]!])
    const [a, b] = [noiseOf(11, 0), noiseOf(11, to)]
    const part = (first: number) =>
      studio.generate({
        ...quickOptions,
        first,
        count: 2,
        className: classes[first === 0 ? 0 : to]!,
        noise: concat([first, first + 1].map((i) => slerp(a, b, i / 3))),
      })
    assertSameImages(images, [...(await part(0)), ...(await part(2))])
    await assertLinkRepeats(page, images)
  })

  test('generation starts from a painted image, which is in the fragment of the link only', async () => {
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    await page.getByRole('radio', { name: 'My image' }).check()
    await page.getByRole('button', { name: 'Orange' }).click()
    const board = page.locator('#board')
    await board.scrollIntoViewIfNeeded()
    const box = (await board.boundingBox())!
    await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.3)
    await page.mouse.down()
    await page.mouse.move(box.x + box.width * 0.7, box.y + box.height * 0.7, { steps: 4 })
    await page.mouse.up()
    await board.focus()
    await page.keyboard.press(' ')
    await page.locator('#strength').fill('0.4')
    await lockSeed(page)
    await page.locator('#generate').click()
    await waitForImages(page)
    const { values, bytes } = await session.decodeLinkImage(fragmentOf(page).get('picture')!)
    assert.ok(!new URL(page.url()).search.includes('picture='))
    const orange = bytes.filter((_, i) => i % 4 === 2).filter((blue) => blue < 230)
    assert.ok(orange.length > 4 && orange.length < 40, `${orange.length} pixels are orange`)
    const images = await readImages(page)
    // Without a chosen class there is no guidance.
    const options = { ...quickOptions, guidance: 0, init: repeat(values), strength: 0.4 }
    assertSameImages(images, await session.studio.generate(options))
    await assertLinkRepeats(page, images)
  })

  test('inpainting changes the marked area and preserves the rest', async () => {
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    const before = await readImages(page)
    await page.getByRole('button', { name: 'Image 2', exact: true }).click()
    await page.getByRole('button', { name: 'Edit' }).click()
    await page.getByRole('checkbox', { name: 'Inpaint' }).check()
    await lockSeed(page)
    assert.match((await page.textContent('#start-note'))!, /^Nothing is marked yet/)
    await page.locator('#generate').click()
    await page.getByRole('alert').filter({ hasText: 'Nothing is marked for inpainting' }).waitFor()
    assert.deepEqual(await readImages(page), before)
    await page.selectOption('#mask-region', 'right')
    assert.match((await page.textContent('#start-note'))!, /^Only the area you mark changes/)
    await page.locator('#generate').click()
    await waitForImages(page)
    const images = await readImages(page)
    const isRight = (i: number) => Math.floor(i / 4) % 8 >= 4
    const left = (image: number[]) => image.filter((_, i) => !isRight(i))
    for (const image of images) assertSameImages([left(image)], [left(before[1]!)])
    const isChanged = (image: number[]) =>
      image.some((byte, i) => isRight(i) && Math.abs(byte - before[1]![i]!) > 8)
    assert.ok(images.some(isChanged))
    const fragment = fragmentOf(page)
    const { values } = await session.decodeLinkImage(fragment.get('picture')!)
    const { values: maskValues } = await session.decodeLinkImage(fragment.get('mask')!)
    const mask = maskValues.map((value) => (value + 1) / 2)
    const options = { ...quickOptions, guidance: 0, strength: 1, init: repeat(values), mask: repeat(mask) }
    assertSameImages(images, await session.studio.generate(options))
    await assertLinkRepeats(page, images)
  })

  test('an opened photo is scaled and cropped', async () => {
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    await page.getByRole('radio', { name: 'My image' }).check()
    const photo = await pngOf('#2080c0', 60, 20)
    await page.setInputFiles('#file', { name: 'photo.png', mimeType: 'image/png', buffer: photo })
    await page.locator('#undo:enabled').waitFor()
    await page.locator('#generate').click()
    await waitForImages(page)
    const { bytes } = await session.decodeLinkImage(fragmentOf(page).get('picture')!)
    assert.deepEqual(new Set(bytes.map((byte, i) => `${i % 4}: ${byte}`)).size, 4)
    assert.deepEqual(bytes.slice(0, 4), [0x20, 0x80, 0xc0, 255])
    await page.close()
  })

  test('images can be dropped and pasted, and other files are rejected', async () => {
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    await page.getByRole('radio', { name: 'My image' }).check()
    const colour = async () => (await readCanvas(page, '#board-image')).slice(0, 3)
    await transfer(page, 'drop', 'a.png', 'image/png', await pngOf('#2080c0', 9, 30))
    await eventually(async () => assert.deepEqual(await colour(), [0x20, 0x80, 0xc0]))
    await transfer(page, 'paste', 'b.png', 'image/png', await pngOf('#c08020', 9, 30))
    await eventually(async () => assert.deepEqual(await colour(), [0xc0, 0x80, 0x20]))
    for (const [name, type] of [
      ['letter.txt', 'text/plain'],
      ['torn.png', 'image/png'],
    ] as const) {
      await transfer(page, 'drop', name, type, Buffer.from('not an image'))
      await page
        .getByRole('alert')
        .filter({ hasText: `Cannot read ${name}: not an image.` })
        .waitFor()
      assert.deepEqual(await colour(), [0xc0, 0x80, 0x20])
    }
    await page.close()
  })

  test('strokes can be undone, and the board can be cleared', async () => {
    const page = await open(`/?${quickSettings}`)
    await waitForImages(page)
    await page.getByRole('radio', { name: 'My image' }).check()
    const board = async () => Buffer.from(await readCanvas(page, '#board-image')).toString('base64')
    const blank = await board()
    await page.locator('#board').focus()
    await page.keyboard.down(' ')
    await page.keyboard.press('ArrowRight')
    await page.keyboard.up(' ')
    const painted = await board()
    assert.ok(painted !== blank)
    await page.getByRole('button', { name: 'Clear', exact: true }).click()
    assert.ok((await board()) === blank)
    await page.getByRole('button', { name: 'Undo' }).click()
    assert.ok((await board()) === painted)
    await page.getByRole('button', { name: 'Undo' }).click()
    assert.ok((await board()) === blank)
    assert.equal(await page.locator('#undo').isDisabled(), true)
    await page.close()
  })

  test('one finger paints, a second one does not', async () => {
    const phone = await session.browser.newContext(phoneContext)
    const page = await open(`/?${quickSettings}`, phone)
    await waitForImages(page)
    await page.getByRole('radio', { name: 'My image' }).tap()
    await page.getByRole('button', { name: 'Black' }).tap()
    const board = page.locator('#board')
    await board.scrollIntoViewIfNeeded()
    const { x, y, width, height } = (await board.boundingBox())!
    const at = (left: number, top: number, id: number) => ({ x: x + left * width, y: y + top * height, id })
    const cdp = await phone.newCDPSession(page)
    const touch = (
      type: 'touchStart' | 'touchMove' | 'touchEnd',
      ...touchPoints: { x: number; y: number; id: number }[]
    ) => cdp.send('Input.dispatchTouchEvent', { type, touchPoints })
    await touch('touchStart', at(0.1, 0.2, 0))
    await touch('touchStart', at(0.1, 0.2, 0), at(0.5, 0.9, 1))
    await touch('touchMove', at(0.9, 0.2, 0), at(0.5, 0.8, 1))
    await touch('touchEnd')
    const side = await page.$eval('#board-image', (canvas) => (canvas as HTMLCanvasElement).width)
    const bytes = await readCanvas(page, '#board-image')
    const isDarkAt = (left: number, top: number) =>
      bytes[4 * (Math.round(top * side) * side + Math.round(left * side))]! < 128
    assert.deepEqual(
      [isDarkAt(0.1, 0.2), isDarkAt(0.5, 0.2), isDarkAt(0.9, 0.2), isDarkAt(0.5, 0.55), isDarkAt(0.5, 0.85)],
      [true, true, true, false, false],
    )
    assert.equal(await page.evaluate(() => scrollX), 0)
    await phone.close()
  })
})

function pngOf(background: string, width: number, height: number): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer()
}

/** Drops a file on the drawing board, or pastes it. */
async function transfer(
  page: Page,
  kind: 'drop' | 'paste',
  name: string,
  type: string,
  file: Buffer,
): Promise<void> {
  const bytes = [...file]
  await page.locator('#board').evaluate(
    (board, { kind, name, type, bytes }) => {
      const data = new DataTransfer()
      data.items.add(new File([Uint8Array.from(bytes)], name, { type }))
      const init = { bubbles: true, cancelable: true }
      if (kind === 'drop') board.dispatchEvent(new DragEvent('drop', { ...init, dataTransfer: data }))
      else document.dispatchEvent(new ClipboardEvent('paste', { ...init, clipboardData: data }))
    },
    { kind, name, type, bytes },
  )
}
