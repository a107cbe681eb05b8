import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createShapes } from '../data/shapes/dataset.ts'
import { factorDistances, parseShapes, totalVariation } from './factors.ts'

function close(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual}, expected ${expected}`)
}

suite('factors of the built-in shapes', () => {
  test('total variation of counts', () => {
    assert.equal(totalVariation([1, 1], [5, 5]), 0)
    assert.equal(totalVariation([3, 0], [0, 7]), 1)
    assert.equal(totalVariation([3, 1], [1, 1]), 0.25)
  })

  test('images of the dataset differ by chance; missing colours, shifts and invalid images are detected', async () => {
    const data = (await parseShapes(createShapes(120, 1).pixels)).shapes
    const others = await parseShapes(createShapes(80, 2).pixels)
    assert.equal(others.shapes.length, 80)
    for (const { factor, distance, chance } of factorDistances(data, others.shapes, 0)) {
      assert.ok(distance < 2 * chance, `${factor}: ${distance}, expected by chance ${chance}`)
    }
    const distanceOf = (shapes: typeof data, factor: string) =>
      factorDistances(data, shapes, 0).find((item) => item.factor === factor)!.distance
    const reds = others.shapes.filter(({ colour }) => colour === 'red')
    const share = data.filter(({ colour }) => colour === 'red').length / data.length
    close(distanceOf(reds, 'colour'), 1 - share, 1e-12)
    const moved = others.shapes.map((shape) => ({ ...shape, x: shape.x + 5 }))
    assert.equal(distanceOf(moved, 'x'), 1)

    const invalid = createShapes(4, 3).pixels
    invalid.fill(0, 0, 3072)
    const { shapes: valid, rejected } = await parseShapes(invalid)
    assert.equal(valid.length, 3)
    assert.deepEqual(Object.values(rejected), [1])
  })
})
