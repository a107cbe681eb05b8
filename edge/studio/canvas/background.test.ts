import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'
import { findBackground } from './background.ts'

const models = new URL('../../models/', import.meta.url)

/** Returns the first sample of a model from its preview grid. The grid is enlarged twofold and has 2-pixel margins. */
async function preview(model: string, side: number) {
  const file = fileURLToPath(new URL(`${model}/preview.png`, models))
  const image = sharp(file)
    .extract({ left: 2, top: 2, width: 2 * side, height: 2 * side })
    .ensureAlpha()
    .raw()
  const { data, info } = await image.toBuffer({ resolveWithObject: true })
  return { data: Uint8ClampedArray.from(data), width: info.width, height: info.height }
}

test('the background of digits is black, that of shapes is light', async () => {
  const [digits, shapes] = [
    findBackground([await preview('digits', 28)]),
    findBackground([await preview('shapes', 32)]),
  ]
  assert.equal(digits.isDark, true)
  assert.match(digits.colour, /^#0[0-3]0[0-3]0[0-3]$/)
  assert.equal(shapes.isDark, false)
  assert.match(shapes.colour, /^#[ef][0-9a-f][ef][0-9a-f][d-f][0-9a-f]$/)
})

test('the background is white if the borders have different colours', () => {
  const plain = (...rgb: number[]) => ({
    data: Uint8ClampedArray.from({ length: 4 * 9 }, (_, i) => rgb[i % 4] ?? 255),
    width: 3,
    height: 3,
  })
  const background = findBackground([plain(200, 20, 20), plain(20, 200, 20), plain(20, 20, 200)])
  assert.deepEqual(background, { colour: '#ffffff', isDark: false })
})
