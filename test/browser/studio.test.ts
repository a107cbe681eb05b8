import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { after, afterEach, before, describe, test } from 'node:test'
import {
  classOf,
  convertOutput,
  createSchedule,
  fillNoise,
  generate,
  qSample,
  readScheduler,
  slerp,
  toRgba,
  x0Weights,
} from '@ddpm/shared'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import sharp from 'sharp'
import { chunksOf } from '../../edge/studio/ui/apng.ts'
import { launch } from '../support/browser.ts'
import { openStudio, type Studio } from '../support/studio.ts'

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
const quick = 'model=test/discs&seed=11&count=4&sampler=ddim&steps=5'

/** The page in a real Chromium, before a real workerd; what it draws is held to what Node draws. */
describe('the studio', { timeout: 1_800_000 }, () => {
  let studio: Studio
  let browser: Browser
  let context: BrowserContext

  before(async () => {
    studio = await openStudio()
    browser = await launch({ webgpu: false })
    context = await browser.newContext({
      serviceWorkers: 'block',
      permissions: ['clipboard-read', 'clipboard-write'],
    })
  })

  /** What pages threw, and how they broke their own content policy. */
  const complaints: string[] = []
  afterEach(() => assert.deepEqual(complaints.splice(0), []))

  after(async () => {
    await browser?.close()
    await studio?.stop()
  })

  test('a visitor sees noise, and then what the model makes of it, without doing anything', async () => {
    const page = await open('/')
    await drawn(page)
    const { searchParams: said } = new URL(page.url())
    const [seed, count] = [Number(said.get('seed')), Number(said.get('count'))]
    assert.equal(count, 8)
    assertSame(await frames(page), await studio.draw({ seed, count }))
    // The timeline begins with each picture's own noise.
    await scrub(page, 0)
    const noise = Array.from({ length: count }, (_, i) => [
      ...toRgba(noiseOf(seed, i), 0, studio.manifest.shape),
    ])
    assertSame(await frames(page), noise)
    assert.equal(await page.getAttribute('#time', 'aria-valuetext'), 'before the first step')
    await page.close()
  })

  test('every setting does what it says, and the link draws the same again', async () => {
    const page = await open(`/?${quick}`)
    await drawn(page)
    await page.fill('#count', '3')
    await page.fill('#seed', '12')
    await page.selectOption('#class', 'light')
    await page.fill('#guidance', '2')
    await page.fill('#steps', '7')
    await page.locator('#more summary').click()
    await page.selectOption('#spacing', 'quadratic')
    await page.fill('#eta', '0.5')
    await page.fill('#rescale', '0.7')
    // From the keyboard.
    await page.locator('#seed').press('Enter')
    await drawn(page, 3)
    const asked = { seed: 12, count: 3, className: 'light', guidance: 2, guidanceRescale: 0.7 }
    assertSame(
      await frames(page),
      await studio.draw({ ...asked, sampler: 'ddim', steps: 7, spacing: 'quadratic', eta: 0.5 }),
    )

    await page.selectOption('#sampler', 'unipc')
    await page.selectOption('#order', '3')
    await page.selectOption('#spacing', 'karras')
    assert.equal(await page.locator('#eta').isVisible(), false)
    await page.locator('#draw').click()
    await drawn(page, 3)
    const shown = await frames(page)
    assertSame(
      shown,
      await studio.draw({ ...asked, sampler: 'unipc', steps: 7, spacing: 'karras', order: 3 }),
    )

    await page.getByRole('button', { name: 'Copy link' }).click()
    await page.getByText('is copied').first().waitFor()
    const link = await page.evaluate(() => navigator.clipboard.readText())
    const second = await open(link.slice(studio.url.length))
    await drawn(second, 3)
    assert.deepEqual(await frames(second), shown)
    await second.close()
    await page.close()
  })

  test('the dice roll another seed', async () => {
    const page = await open(`/?${quick}`)
    await drawn(page)
    await page.getByRole('button', { name: 'Roll another seed' }).click()
    const seed = Number(await page.inputValue('#seed'))
    assert.notEqual(seed, 11)
    await page.locator('#draw').click()
    await drawn(page)
    assertSame(
      await frames(page),
      await studio.draw({ seed, count: 4, sampler: 'ddim', steps: 5, guidance: 1.5 }),
    )
    await page.close()
  })

  test('a picture is varied by noise near its own', async () => {
    const page = await open(`/?${quick}`)
    await drawn(page)
    const before = await frames(page)
    await page.getByRole('button', { name: 'Picture 3' }).click()
    await page.getByRole('button', { name: 'Vary' }).click()
    await drawn(page)
    const other = Number(await page.inputValue('#other'))
    const found = await frames(page)
    assertSame(found.slice(0, 1), before.slice(2, 3))
    const noise = joined(
      [0, 1, 2, 3].map((i) => (i === 0 ? noiseOf(11, 2) : slerp(noiseOf(11, 2), noiseOf(other, i), 0.25))),
    )
    const className = classOf(studio.manifest, { seed: 11, image: 2, name: null })
    const asked = { seed: 11, count: 4, sampler: 'ddim', steps: 5, guidance: 1.5, className, noise } as const
    assertSame(found, await studio.draw(asked))
    await drawsAgain(page, found)
  })

  test('a picture turns into another along the arc between their noises', async () => {
    const page = await open(`/?${quick}`)
    await drawn(page)
    const before = await frames(page)
    const named = [0, 1, 2, 3].map((image) => classOf(studio.manifest, { seed: 11, image, name: null }))
    // Two of different classes, where the way has to change in its middle.
    const to = named.findIndex((name) => name !== named[0])
    assert.ok(to > 0, `${named}`)
    await page.getByRole('button', { name: 'Picture 1' }).click()
    await page.getByRole('button', { name: 'Turn into' }).click()
    await page.getByRole('button', { name: `Picture ${to + 1}` }).click()
    await drawn(page)
    const found = await frames(page)
    assertSame([found[0]!, found[3]!], [before[0]!, before[to]!])
    const [a, b] = [noiseOf(11, 0), noiseOf(11, to)]
    const part = (from: number) =>
      studio.draw({
        seed: 11,
        first: from,
        count: 2,
        sampler: 'ddim',
        steps: 5,
        guidance: 1.5,
        className: named[from === 0 ? 0 : to]!,
        noise: joined([from, from + 1].map((i) => slerp(a, b, i / 3))),
      })
    assertSame(found, [...(await part(0)), ...(await part(2))])
    await drawsAgain(page, found)
  })

  test('a drawing of one’s own is drawn on, and travels in the link where no server sees it', async () => {
    const page = await open(`/?${quick}`)
    await drawn(page)
    await page.getByRole('radio', { name: 'My picture' }).check()
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
    await page.locator('#draw').click()
    await drawn(page)
    const { hash, search } = new URL(page.url())
    const { values, bytes } = await imageOf(new URLSearchParams(hash.slice(1)).get('picture')!)
    assert.ok(!search.includes('picture='))
    const orange = bytes.filter((_, i) => i % 4 === 2).filter((blue) => blue < 230)
    assert.ok(orange.length > 4 && orange.length < 40, `${orange.length} pixels are orange`)
    const image = joined([values, values, values, values])
    const found = await frames(page)
    // No class was asked for: none pulls.
    const asked = {
      seed: 11,
      count: 4,
      sampler: 'ddim',
      steps: 5,
      guidance: 0,
      image,
      strength: 0.4,
    } as const
    assertSame(found, await studio.draw(asked))
    await drawsAgain(page, found)
  })

  test('what is covered is drawn anew, and the rest stays', async () => {
    const page = await open(`/?${quick}`)
    await drawn(page)
    const before = await frames(page)
    await page.getByRole('button', { name: 'Picture 2' }).click()
    await page.getByRole('button', { name: 'Paint over' }).click()
    await page.getByRole('checkbox', { name: 'Draw anew only what I cover' }).check()
    await page.selectOption('#halves', 'right')
    await page.locator('#draw').click()
    await drawn(page)
    const found = await frames(page)
    const right = (i: number) => Math.floor(i / 4) % 8 >= 4
    for (const image of found)
      assertSame([image.filter((_, i) => !right(i))], [before[1]!.filter((_, i) => !right(i))])
    assert.ok(found.some((image) => image.some((byte, i) => right(i) && Math.abs(byte - before[1]![i]!) > 8)))
    const hash = new URLSearchParams(new URL(page.url()).hash.slice(1))
    const { values } = await imageOf(hash.get('picture')!)
    const mask = (await imageOf(hash.get('mask')!)).values.map((value) => (value + 1) / 2)
    const four = (one: Float32Array) => joined([one, one, one, one])
    const asked = { seed: 11, count: 4, sampler: 'ddim', steps: 5, guidance: 0, strength: 1 } as const
    assertSame(found, await studio.draw({ ...asked, init: four(values), mask: four(mask) }))
    await drawsAgain(page, found)
  })

  test('a photo is scaled, cropped and drawn on', async () => {
    const page = await open(`/?${quick}`)
    await drawn(page)
    await page.getByRole('radio', { name: 'My picture' }).check()
    const photo = await sharp({ create: { width: 60, height: 20, channels: 3, background: '#2080c0' } })
      .png()
      .toBuffer()
    await page.setInputFiles('#file', { name: 'photo.png', mimeType: 'image/png', buffer: photo })
    await page.locator('#undo:enabled').waitFor()
    await page.locator('#draw').click()
    await drawn(page)
    const { bytes } = await imageOf(new URLSearchParams(new URL(page.url()).hash.slice(1)).get('picture')!)
    assert.deepEqual(new Set(bytes.map((byte, i) => `${i % 4}: ${byte}`)).size, 4)
    assert.deepEqual(bytes.slice(0, 4), [0x20, 0x80, 0xc0, 255])
    await page.close()
  })

  test('pictures are dropped and pasted, and what is none is said to be none', async () => {
    const page = await open(`/?${quick}`)
    await drawn(page)
    await page.getByRole('radio', { name: 'My picture' }).check()
    const colours = async () => {
      const bytes = await canvas(page, '#board-image')
      return bytes.slice(0, 3)
    }
    const give = async (kind: 'drop' | 'paste', name: string, type: string, file: Buffer) => {
      const bytes = [...file]
      await page.locator('#board').evaluate(
        (board, { kind, name, type, bytes }) => {
          const given = new DataTransfer()
          given.items.add(new File([Uint8Array.from(bytes)], name, { type }))
          const how = { bubbles: true, cancelable: true }
          if (kind === 'drop') board.dispatchEvent(new DragEvent('drop', { ...how, dataTransfer: given }))
          else document.dispatchEvent(new ClipboardEvent('paste', { ...how, clipboardData: given }))
        },
        { kind, name, type, bytes },
      )
    }
    const plain = (background: string) =>
      sharp({ create: { width: 9, height: 30, channels: 3, background } })
        .png()
        .toBuffer()
    await give('drop', 'a.png', 'image/png', await plain('#2080c0'))
    await eventually(async () => assert.deepEqual(await colours(), [0x20, 0x80, 0xc0]))
    await give('paste', 'b.png', 'image/png', await plain('#c08020'))
    await eventually(async () => assert.deepEqual(await colours(), [0xc0, 0x80, 0x20]))
    for (const [name, type] of [
      ['letter.txt', 'text/plain'],
      ['torn.png', 'image/png'],
    ] as const) {
      await give('drop', name, type, Buffer.from('no picture'))
      await page
        .getByRole('alert')
        .filter({ hasText: `${name} cannot be read as a picture` })
        .waitFor()
      assert.deepEqual(await colours(), [0xc0, 0x80, 0x20])
    }
    await page.close()
  })

  test('a finger paints, a second one does not', async () => {
    const phone = await browser.newContext({
      serviceWorkers: 'block',
      viewport: { width: 360, height: 740 },
      hasTouch: true,
      isMobile: true,
    })
    const page = await open(`/?${quick}`, phone)
    await drawn(page)
    await page.getByRole('radio', { name: 'My picture' }).tap()
    await page.getByRole('button', { name: 'Black' }).tap()
    const board = page.locator('#board')
    await board.scrollIntoViewIfNeeded()
    const { x, y, width, height } = (await board.boundingBox())!
    const at = (left: number, top: number, id: number) => ({ x: x + left * width, y: y + top * height, id })
    const session = await phone.newCDPSession(page)
    const touch = (
      type: 'touchStart' | 'touchMove' | 'touchEnd',
      ...touchPoints: { x: number; y: number; id: number }[]
    ) => session.send('Input.dispatchTouchEvent', { type, touchPoints })
    await touch('touchStart', at(0.1, 0.2, 0))
    await touch('touchStart', at(0.1, 0.2, 0), at(0.5, 0.9, 1))
    await touch('touchMove', at(0.9, 0.2, 0), at(0.5, 0.8, 1))
    await touch('touchEnd')
    const side = await page.$eval('#board-image', (found) => (found as HTMLCanvasElement).width)
    const bytes = await canvas(page, '#board-image')
    const darkAt = (left: number, top: number) =>
      bytes[4 * (Math.round(top * side) * side + Math.round(left * side))]! < 128
    assert.deepEqual(
      [darkAt(0.1, 0.2), darkAt(0.5, 0.2), darkAt(0.9, 0.2), darkAt(0.5, 0.55), darkAt(0.5, 0.85)],
      [true, true, true, false, false],
    )
    assert.equal(await page.evaluate(() => scrollX), 0)
    await phone.close()
  })

  test('on WebGPU it draws the same', async () => {
    const other = await launch({ webgpu: true })
    try {
      const page = await open(`/?${quick}`, await other.newContext({ serviceWorkers: 'block' }))
      await page.locator('#more summary').click()
      await page.selectOption('#run-on', 'webgpu')
      await drawn(page)
      await page.locator('#draw').click()
      await drawn(page)
      assert.match((await page.textContent('#device'))!, /^Draws on WebGPU/)
      const asked = { seed: 11, count: 4, sampler: 'ddim', steps: 5, guidance: 1.5 } as const
      assertSame(await frames(page), await studio.draw(asked))
      await scrub(page, 0)
      assertSame([await canvas(page, '#now')], [[...toRgba(noiseOf(11, 0), 0, studio.manifest.shape)]])
      await page.close()
    } finally {
      await other.close()
    }
  })

  test('the timeline shows every picture on its way, and what is foreseen', async () => {
    const page = await open(`/?${quick}`)
    await drawn(page)
    const end = await frames(page)
    assert.equal(await page.getAttribute('#time', 'max'), '5')
    await scrub(page, 2)
    assert.match((await page.getAttribute('#time', 'aria-valuetext'))!, /^step 2 of 5, t = \d+$/)
    const middle = await frames(page)
    const [x, x0] = [await canvas(page, '#now'), await canvas(page, '#guess')]
    assert.deepEqual(x, middle[0])
    // Half way the foreseen picture is closer to the end than what is there.
    assert.ok(distance(x0, end[0]!) < distance(x, end[0]!))
    await page.getByRole('button', { name: 'Picture 4' }).click()
    assert.deepEqual(await canvas(page, '#now'), middle[3])
    await page.getByRole('button', { name: 'Play' }).click()
    await page.locator('#play[aria-pressed="false"]').waitFor()
    assert.deepEqual(await frames(page), end)
    assert.equal(await page.locator('.chart .dots path').count(), 6)
    await page.close()
  })

  test('pictures and films are saved', async () => {
    const page = await open(`/?${quick}`)
    await drawn(page)
    const shown = await frames(page)
    const saved = async (action: () => Promise<unknown>) => {
      const [download] = await Promise.all([page.waitForEvent('download'), action()])
      return { name: download.suggestedFilename(), file: await readFile(await download.path()) }
    }
    await page.getByRole('button', { name: 'Picture 3' }).click()
    await page.getByRole('button', { name: 'Enlarge' }).click()
    const own = await saved(() => page.getByRole('button', { name: 'Save 8 × 8' }).click())
    assert.equal(own.name, 'discs-seed11-3.png')
    assert.deepEqual([...(await sharp(own.file).ensureAlpha().raw().toBuffer())], shown[2])
    await page.getByRole('button', { name: 'Close' }).click()

    const film = await saved(() => page.getByRole('button', { name: 'Save film' }).click())
    assert.equal(film.name, 'discs-seed11-3-denoising.png')
    assert.equal(chunksOf(film.file).filter(({ type }) => type === 'fcTL').length, 6)
    const first = await sharp(film.file).resize(8, 8, { kernel: 'nearest' }).ensureAlpha().raw().toBuffer()
    assert.deepEqual([...first], [...toRgba(noiseOf(11, 2), 0, studio.manifest.shape)])
    assert.equal(await playedFrames(page, film.file), 6)

    const all = await saved(() => page.getByRole('button', { name: 'Save all' }).click())
    assert.equal(all.name, 'discs-seed11.png')
    await page.close()
  })

  test('what was drawn and what was kept is there the next time', async () => {
    const own = await browser.newContext({ serviceWorkers: 'block' })
    const page = await open(`/?${quick}`, own)
    await drawn(page)
    const shown = await frames(page)
    await page.getByRole('button', { name: 'Picture 2' }).click()
    await page.getByRole('button', { name: 'Keep', exact: true }).click()
    assert.equal(await page.getAttribute('#keep', 'aria-pressed'), 'true')
    await page.fill('#seed', '99')
    await page.locator('#draw').click()
    await drawn(page)
    await page.reload()
    await drawn(page)
    const names = () =>
      page.locator('#history button').evaluateAll((all) => all.map((button) => (button as HTMLElement).title))
    assert.deepEqual(
      (await names()).map((title) => /seed \d+/.exec(title)![0]),
      ['seed 99', 'seed 11'],
    )
    // What the drawing before this one announced says nothing of the next.
    await page.$eval('#announcement', (element) => element.replaceChildren())
    await page.locator('#favourites button').click()
    await drawn(page)
    assert.deepEqual(await frames(page), shown)
    assert.equal(await page.getByRole('button', { name: 'Picture 2' }).getAttribute('aria-pressed'), 'true')
    await page.getByRole('button', { name: 'Keep', exact: true }).click()
    assert.equal(await page.locator('#favourites').isVisible(), false)
    await own.close()
  })

  test('who saves data is asked first, and who wants calm sees no flicker', async () => {
    const thrifty = await browser.newContext({ serviceWorkers: 'block' })
    await thrifty.addInitScript(
      "Object.defineProperty(navigator, 'connection', { value: { saveData: true } })",
    )
    const asked: string[] = []
    const page = await open('/', thrifty, (url) => asked.push(url))
    await page.locator('#draw:enabled').waitFor()
    await page.waitForTimeout(500)
    assert.deepEqual(
      asked.filter((url) => /worker|wasm/.test(url)),
      [],
    )
    await page.locator('#draw').click()
    await drawn(page)
    await thrifty.close()

    for (const reducedMotion of ['reduce', 'no-preference'] as const) {
      const own = await browser.newContext({ serviceWorkers: 'block', reducedMotion })
      await own.addInitScript(`window.paints = 0
        const put = CanvasRenderingContext2D.prototype.putImageData
        CanvasRenderingContext2D.prototype.putImageData = function (...given) {
          if (this.canvas.closest('#frames')) window.paints++
          return put.apply(this, given)
        }`)
      const slow = await open('/?model=test/discs&seed=1&count=1&sampler=ddpm&steps=200', own)
      await drawn(slow, 1)
      const paints = await slow.evaluate(() => (window as unknown as { paints: number }).paints)
      // The noise, perhaps more than once, and the result, perhaps more than once.
      if (reducedMotion === 'reduce') assert.ok(paints <= 8, `${paints} paints`)
      else assert.ok(paints > 8, `${paints} paints`)
      await own.close()
    }
  })

  test('what a device cannot do is said, and downloads are forgotten when told', async () => {
    const own = await browser.newContext({ serviceWorkers: 'block' })
    const page = await open(`/?${quick}`, own)
    await drawn(page)
    await page.locator('#more summary').click()
    await page.getByText(/^This browser keeps \d+ files of [\d.]+ MB/).waitFor()
    await page.getByRole('button', { name: 'Forget them' }).click()
    await page.locator('#downloads').waitFor({ state: 'hidden' })
    const kept = await page.evaluate(async () => {
      const { cacheInfo } = (await import(
        '/sampler.js' as string
      )) as typeof import('../../edge/sampler/browser.ts')
      return (await cacheInfo()).bytes
    })
    assert.equal(kept, 0)
    await page.selectOption('#run-on', 'webgpu')
    await page.locator('#draw').click()
    await page
      .getByRole('alert')
      .filter({ hasText: /"webgpu" is not available/ })
      .waitFor()
    await page.selectOption('#run-on', 'wasm')
    await page.locator('#draw').click()
    await drawn(page)
    assert.match((await page.textContent('#device'))!, /^Draws on WebAssembly, \d threads?: as requested/)
    await own.close()
  })

  test('a drawing is stopped, and another begun', async () => {
    const page = await open('/?model=test/discs&seed=1&count=64&sampler=ddpm&steps=1000')
    await page.getByText(/^Step \d+ of 1000/).waitFor()
    await page.getByRole('button', { name: 'Stop' }).click()
    await page.locator('#progress-text').filter({ hasText: 'Stopped.' }).waitFor()
    await page.fill('#steps', '4')
    await page.fill('#count', '2')
    await page.locator('#draw').click()
    await drawn(page, 2)
    assertSame(
      await frames(page),
      await studio.draw({ seed: 1, count: 2, sampler: 'ddpm', steps: 4, guidance: 1.5 }),
    )
    await page.close()
  })

  test('a link that cannot be followed is explained on a page that works', async () => {
    for (const [query, message] of [
      ['?model=test/nothing&seed=1', /test\/nothing/],
      ['?model=test/discs&seed=1&class=cold', /class "cold".*light, warm/],
      ['?model=test/discs&seed=-1', /seed=-1; expected/],
      ['?model=test/discs&seed=1#picture=AAAA', /picture in the link cannot be read/],
    ] as const) {
      const page = await open(`/${query}`)
      await page.getByRole('alert').filter({ hasText: message }).waitFor()
      await page.locator('#draw:enabled').waitFor()
      await page.close()
    }
  })

  test('the explanation noises a picture as DDPM says, and shows what the network makes of it', async () => {
    // Without its slash, too.
    const page = await open('/explain')
    assert.equal(page.url(), `${studio.url}/explain/`)
    await page.getByText(/per pixel and colour: [\d.]+/).waitFor()
    await page.getByRole('button', { name: 'Picture 4 of the model' }).waitFor()
    const x0 = await drawnByExplain()
    await page.locator('#t').fill('250')
    await page.waitForFunction(() => /t = 250/.test(document.querySelector('#t-text')!.textContent!))
    const { shape, scheduler } = studio.manifest
    const meaning = readScheduler(scheduler)
    const schedule = createSchedule(meaning.schedule)
    const epsilon = noiseOf(1, 0)
    const xt = qSample(schedule.alphasCumprod[250]!, x0, epsilon)
    assertSame([await canvas(page, '#xt')], [[...toRgba(xt, 0, shape)]])
    const none = Float32Array.of(studio.manifest.classes.length)
    const seen = async (x: Float32Array, t: number, label: Float32Array) => {
      const output = await studio.network(x, Float32Array.of(t), label)
      const weights = x0Weights(meaning.predictionType, schedule.alphasCumprod[t]!)
      return convertOutput(weights, { xt: x, output, count: 1 }, new Float32Array(x.length))
    }
    const expected = [...toRgba(await seen(xt, 250, none), 0, shape)]
    await eventually(async () => assertSame([await canvas(page, '#seen-x0')], [expected]))
    await page.selectOption('#class', 'warm')
    const warm = [...toRgba(await seen(xt, 250, Float32Array.of(1)), 0, shape)]
    await eventually(async () => assertSame([await canvas(page, '#seen-x0')], [warm]))

    await page.getByRole('button', { name: 'All the way' }).click()
    await page.locator('#walk-t').filter({ hasText: 'its end' }).waitFor()
    assert.equal(await page.locator('#step-one').isDisabled(), true)
    await page.locator('#own summary').click()
    await page.locator('#board').scrollIntoViewIfNeeded()
    const before = await canvas(page, '#x0')
    await page.locator('#board').click()
    assert.notDeepEqual(await canvas(page, '#x0'), before)
    await page.close()
  })

  /** The first picture of the model that the explanation offers. */
  function drawnByExplain(): Promise<Float32Array> {
    const options = { seed: 1, count: 1, sampler: 'dpmpp', order: 2, steps: 15 } as const
    return generate(studio.manifest, studio.network, options)
  }

  for (const colorScheme of ['light', 'dark'] as const) {
    for (const width of [1280, 360]) {
      test(`axe finds nothing, and nothing scrolls sideways: ${colorScheme}, ${width} pixels`, async () => {
        const own = await browser.newContext({
          serviceWorkers: 'block',
          colorScheme,
          viewport: { width, height: 740 },
          hasTouch: width === 360,
        })
        for (const path of [`/?${quick}`, '/explain/']) {
          const page = await open(path, own)
          await (path === '/explain/' ? page.getByText(/per pixel and colour/).waitFor() : drawn(page))
          const panels = path === '/explain/' ? ['noise'] : ['noise', 'image', 'near', 'between']
          for (const panel of panels) {
            if (panel !== 'noise')
              await page.locator(`input[name="start"][value="${panel}"]`).check({ force: true })
            if (panel === 'image') await page.locator('#masking').check()
            assert.deepEqual(await violations(page), [], `${path} ${panel}`)
            assert.ok(
              (await page.evaluate(() => document.documentElement.scrollWidth)) <= width,
              `${path} ${panel}`,
            )
          }
          await page.close()
        }
        await own.close()
      })
    }
  }

  test('once loaded, studio and explanation work without a network', async () => {
    const traveller = await browser.newContext()
    const page = await open(`/?${quick}`, traveller)
    await drawn(page)
    await page.evaluate(async () => {
      const kept = async (path: string) =>
        (await (await caches.open('ddpm-answers')).match(path)) !== undefined
      while (!((await kept('/api/models')) && (await kept('/api/models/test/discs')))) {
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    })
    const shown = await frames(page)
    await traveller.setOffline(true)
    await page.goto(`${studio.url}/?${quick}`)
    await drawn(page)
    assert.deepEqual(await frames(page), shown)
    assert.equal(await page.evaluate(() => crossOriginIsolated), true)
    await page.getByRole('link', { name: 'How it works' }).click()
    await page.getByText(/per pixel and colour: [\d.]+/).waitFor()
    await traveller.close()
  })

  /** A page of the studio; what it complains of fails the test that has it open. */
  async function open(path: string, where = context, onRequest?: (url: string) => void): Promise<Page> {
    const page = await where.newPage()
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy/.test(message.text()))
        complaints.push(message.text())
    })
    if (onRequest) page.on('request', (request) => onRequest(request.url()))
    await page.goto(`${studio.url}${path}`)
    return page
  }

  /** The link of what is shown draws it again, in another tab. */
  async function drawsAgain(page: Page, shown: number[][]): Promise<void> {
    const second = await open(page.url().slice(studio.url.length))
    await drawn(second, shown.length)
    assert.deepEqual(await frames(second), shown)
    await second.close()
    await page.close()
  }

  function noiseOf(seed: number, image: number): Float32Array {
    const { channels, height, width } = studio.manifest.shape
    const noise = new Float32Array(channels * height * width)
    fillNoise(seed, [image], 0, noise)
    return noise
  }

  /** A picture as a link carries it: bytes, and values as a model takes them. */
  async function imageOf(text: string): Promise<{ bytes: number[]; values: Float32Array }> {
    const data = await sharp(Buffer.from(text, 'base64url')).ensureAlpha().raw().toBuffer()
    const { channels, height, width } = studio.manifest.shape
    const plane = height * width
    const values = Float32Array.from(
      { length: channels * plane },
      (_, i) => data[(i % plane) * 4 + Math.floor(i / plane)]! / 127.5 - 1,
    )
    return { bytes: [...data], values }
  }
})

/** Waits until a drawing is done. */
async function drawn(page: Page, count?: number): Promise<void> {
  const pattern = count === undefined ? String.raw`^\d+ pictures? in ` : `^${count} pictures? in `
  await page.locator('#draw[type="submit"]').waitFor({ timeout: 120_000 })
  await page
    .locator('#announcement')
    .filter({ hasText: new RegExp(pattern) })
    .waitFor({ state: 'attached', timeout: 120_000 })
}

/** What the sheet's frames hold. */
function frames(page: Page): Promise<number[][]> {
  return page.$$eval('#frames canvas', (found) =>
    found.map((canvas) => {
      const { width, height } = canvas as HTMLCanvasElement
      return [...(canvas as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, width, height).data]
    }),
  )
}

function canvas(page: Page, selector: string): Promise<number[]> {
  return page.$eval(selector, (found) => {
    const { width, height } = found as HTMLCanvasElement
    return [...(found as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, width, height).data]
  })
}

async function scrub(page: Page, frame: number): Promise<void> {
  await page.locator('#time').fill(String(frame))
}

/** How many frames the browser itself finds in a moving PNG. */
function playedFrames(page: Page, file: Buffer): Promise<number> {
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

async function violations(page: Page): Promise<string[]> {
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

function joined(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]))
}

function distance(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]!), 0)
}

async function eventually(check: () => Promise<void>): Promise<void> {
  const until = Date.now() + 20_000
  for (;;) {
    try {
      return await check()
    } catch (error) {
      if (Date.now() > until) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

/** Equal within 2/255 at every pixel: devices round differently. */
function assertSame(found: number[][], expected: number[][]): void {
  assert.equal(found.length, expected.length)
  for (const [i, image] of found.entries()) {
    assert.equal(image.length, expected[i]!.length)
    const worst = image.reduce((most, byte, k) => Math.max(most, Math.abs(byte - expected[i]![k]!)), 0)
    assert.ok(worst <= 2, `picture ${i + 1} differs by up to ${worst}/255`)
  }
}
