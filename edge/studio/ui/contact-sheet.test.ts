import assert from 'node:assert/strict'
import { test } from 'node:test'
import { arrangeTiles, moveInGrid } from './contact-sheet.ts'

const image = { width: 32, height: 32 }

test('one image fills the available space with whole pixels', () => {
  // (700 − 8 − 17) / 32 = 21.09
  assert.deepEqual(arrangeTiles(1, image, { width: 900, height: 700 }, 1), { columns: 1, scale: 21 })
})

test('sixteen images in a square are arranged four by four', () => {
  assert.deepEqual(arrangeTiles(16, image, { width: 800, height: 840 }, 1), { columns: 4, scale: 5 })
})

test('on a phone, tiles stay large enough for a finger, in as many columns as fit', () => {
  assert.deepEqual(arrangeTiles(64, image, { width: 328, height: 500 }, 1), { columns: 4, scale: 2 })
})

test('a high-resolution screen allows fractional scales that are whole numbers of device pixels', () => {
  // Four columns with three gaps of 8 pixels allow a scale of (328 − 3·8) / 4 / 16 = 4.75.
  const small = { width: 16, height: 16 }
  assert.deepEqual(arrangeTiles(16, small, { width: 328, height: 600 }, 2), { columns: 4, scale: 4.5 })
})

test('arrow keys, Home and End move in the grid and stop at its edges', () => {
  const grid = { index: 4, count: 8, columns: 3 }
  const from = (index: number, key: string) => moveInGrid(key, { ...grid, index })
  assert.deepEqual(
    ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'Home', 'End'].map((key) => from(4, key)),
    [3, 5, 1, 7, 0, 7],
  )
  assert.deepEqual(
    [from(0, 'ArrowLeft'), from(7, 'ArrowRight'), from(1, 'ArrowUp'), from(5, 'ArrowDown'), from(4, 'a')],
    [null, null, null, null, null],
  )
})
