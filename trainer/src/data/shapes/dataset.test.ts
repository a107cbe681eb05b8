import assert from 'node:assert/strict'
import { test } from 'node:test'
import { background, colourNames, createShapes, palette, ranges, shapeAt, side } from './dataset.ts'
import { figures } from './figures.ts'

const bytes = 3 * side * side

test('image i depends only on the seed and i', () => {
  const few = createShapes(10, 7)
  const many = createShapes(50, 7)
  assert.deepEqual(few.pixels, many.pixels.subarray(0, 10 * bytes))
  assert.deepEqual(few.labels, many.labels?.subarray(0, 10))
  assert.notDeepEqual(few.pixels, createShapes(10, 8).pixels)
})

test('a seed gives the same images in every version', () => {
  assert.deepEqual(
    [0, 1, 2, 3].map((index) => shapeAt(1, index)).map(({ figure, colour }) => `${colour} ${figure}`),
    ['red triangle', 'green triangle', 'pink square', 'red circle'],
  )
})

test('figures and colours are equally frequent, the other factors fill their ranges', () => {
  const count = 6000
  const sampled = Array.from({ length: count }, (_, index) => shapeAt(3, index))
  for (const figure of figures) {
    for (const colour of colourNames) {
      const frequency = sampled.filter((shape) => shape.figure === figure && shape.colour === colour).length
      // Each of the 36 combinations occurs 167 ± 12.7 times. The tolerance is five standard deviations.
      assert.ok(Math.abs(frequency - count / 36) < 64, `${frequency} times ${colour} ${figure}`)
    }
  }
  const turned = sampled.filter(({ figure }) => figure !== 'circle' && figure !== 'ring')
  for (const [values, [low, high]] of [
    [sampled.map(({ x }) => x), ranges.centre],
    [sampled.map(({ y }) => y), ranges.centre],
    [sampled.map(({ radius }) => radius), ranges.radius],
    [turned.map(({ angle }) => angle), ranges.angle],
  ] as const) {
    assert.ok(Math.min(...values) >= low && Math.max(...values) <= high)
    assert.ok(Math.max(...values) - Math.min(...values) > 0.99 * (high - low))
  }
})

test('an image shows one flat figure on the background, inside the borders, with its label', () => {
  const set = createShapes(600, 5)
  for (let index = 0; index < set.count; index++) {
    const shape = shapeAt(5, index)
    const at = (x: number, y: number) =>
      [0, 1, 2].map((channel) => set.pixels[index * bytes + (channel * side + y) * side + x])
    assert.equal(set.classes[set.labels![index]!], `${shape.colour} ${shape.figure}`)
    for (let along = 0; along < side; along++) {
      for (const pixel of [at(along, 0), at(along, side - 1), at(0, along), at(side - 1, along)]) {
        assert.deepEqual(pixel, [...background])
      }
    }
    const middle = at(Math.floor(shape.x), Math.floor(shape.y))
    assert.deepEqual(middle, shape.figure === 'ring' ? [...background] : [...palette[shape.colour]])
  }
})
