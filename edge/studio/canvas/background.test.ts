import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { paperOf } from './background.ts'

const models = new URL('../../models/', import.meta.url)

/** What a model drew first, out of the grid that is its preview: pictures twice as large, in a frame of two pixels. */
async function preview(model: string, side: number) {
  const file = fileURLToPath(new URL(`${model}/preview.png`, models))
  const image = sharp(file)
    .extract({ left: 2, top: 2, width: 2 * side, height: 2 * side })
    .ensureAlpha()
    .raw()
  const { data, info } = await image.toBuffer({ resolveWithObject: true })
  return { data: Uint8ClampedArray.from(data), width: info.width, height: info.height }
}

test('digits are written on black, shapes lie on paper', async () => {
  const [digits, shapes] = [paperOf([await preview('digits', 28)]), paperOf([await preview('shapes', 32)])]
  assert.equal(digits.isDark, true)
  assert.match(digits.colour, /^#0[0-3]0[0-3]0[0-3]$/)
  assert.equal(shapes.isDark, false)
  assert.match(shapes.colour, /^#[ef][0-9a-f][ef][0-9a-f][d-f][0-9a-f]$/)
})

test('where every border has a colour of its own, the paper is white', () => {
  const plain = (...rgb: number[]) => ({
    data: Uint8ClampedArray.from({ length: 4 * 9 }, (_, i) => rgb[i % 4] ?? 255),
    width: 3,
    height: 3,
  })
  const found = paperOf([plain(200, 20, 20), plain(20, 200, 20), plain(20, 20, 200)])
  assert.deepEqual(found, { colour: '#ffffff', isDark: false })
})
