import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UserError } from '@ddpm/shared'
import { type Dataset, pad, split, toSigned, writeImage } from './dataset.ts'

/** Creates images [2, 1, 3]: image i has the bytes 10i to 10i + 5 and label i mod 4. */
function numbered(count: number): Dataset {
  return {
    name: 'numbered',
    channels: 2,
    height: 1,
    width: 3,
    count,
    classes: ['a', 'b', 'c', 'd'],
    pixels: Uint8Array.from({ length: 6 * count }, (_, at) => 10 * Math.floor(at / 6) + (at % 6)),
    labels: Uint16Array.from({ length: count }, (_, index) => index % 4),
  }
}

test('bytes 0, 127.5 and 255 become −1, 0 and 1', () => {
  assert.deepEqual([0, 127.5, 255].map(toSigned), [-1, 0, 1])
})

test('writeImage writes one image at the offset and mirrors each row', () => {
  const out = new Float32Array(8)
  const asBytes = () => Array.from(out, (x) => Math.round((x + 1) * 127.5))
  writeImage(numbered(3), 1, out, 1, false)
  assert.deepEqual(asBytes().slice(1, 7), [10, 11, 12, 13, 14, 15])
  assert.deepEqual([out[0], out[7]], [0, 0])
  writeImage(numbered(3), 1, out, 1, true)
  assert.deepEqual(asBytes().slice(1, 7), [12, 11, 10, 15, 14, 13])
})

test('split divides images and labels by the seed', () => {
  const whole = numbered(25)
  const { train, validation } = split(whole, 0.2, 1)
  assert.deepEqual([train.count, validation.count], [20, 5])
  const indices = [train, validation].flatMap((part) => {
    return Array.from({ length: part.count }, (_, at) => {
      const index = part.pixels[6 * at]! / 10
      assert.deepEqual(
        part.pixels.subarray(6 * at, 6 * at + 6),
        whole.pixels.subarray(6 * index, 6 * index + 6),
      )
      assert.equal(part.labels?.[at], index % 4)
      return index
    })
  })
  assert.deepEqual(
    indices.sort((a, b) => a - b),
    [...Array(25).keys()],
  )
  assert.deepEqual(split(whole, 0.2, 1), { train, validation })
  assert.notDeepEqual(split(whole, 0.2, 2).validation.pixels, validation.pixels)
})

test('split gives both sets at least one image, or throws', () => {
  assert.equal(split(numbered(2), 0.01, 1).validation.count, 1)
  assert.equal(split(numbered(2), 0.99, 1).train.count, 1)
  assert.throws(() => split(numbered(1), 0.1, 1), UserError)
})

test('pad centres images on black', () => {
  const padded = pad(numbered(2), { width: 5, height: 5 })
  assert.deepEqual([padded.height, padded.width, padded.pixels.length], [5, 5, 2 * 2 * 25])
  const plane = [...padded.pixels.subarray(75, 100)] // image 1, channel 1
  assert.deepEqual(plane.slice(10, 15), [0, 13, 14, 15, 0])
  assert.equal(plane.filter((byte) => byte !== 0).length, 3)
  assert.equal(
    padded.pixels.reduce((a, b) => a + b),
    numbered(2).pixels.reduce((a, b) => a + b),
  )
  assert.throws(() => pad(numbered(2), { width: 2, height: 2 }), /3×1.*2×2.*at least 3/s)
})
