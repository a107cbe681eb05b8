import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createShapes } from '../../data/shapes/dataset.ts'
import { selectImages } from './images.ts'

test('selects each random image once; skipping the first 12 selects the other 8', () => {
  const dataset = createShapes(20, 1)
  const imagesOf = (pixels: Uint8Array) =>
    Array.from({ length: pixels.length / 3072 }, (_, i) => String(pixels.subarray(i * 3072, (i + 1) * 3072)))
  const [some, others] = [selectImages(dataset, 12, 3), selectImages(dataset, 8, 3, 12)]
  assert.deepEqual(
    [...imagesOf(some.pixels), ...imagesOf(others.pixels)].sort(),
    imagesOf(dataset.pixels).sort(),
  )
  assert.notDeepEqual(imagesOf(some.pixels), imagesOf(dataset.pixels).slice(0, 12))
})
