import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { builtInSets } from '../data/built-in.ts'
import {
  factorDistances,
  parsedStatistics,
  parseImages,
  recognizedFactors,
  totalVariation,
} from './factors.ts'

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
    const parser = await builtInSets.shapes.openParser()
    const images = (count: number, seed: number) => builtInSets.shapes.create(count, seed)
    const data = recognizedFactors(await parseImages(parser, await images(120, 1)))
    const others = recognizedFactors(await parseImages(parser, await images(80, 2)))
    assert.equal(others.length, 80)
    for (const { factor, distance, chance } of factorDistances(data, others, 0)) {
      assert.ok(distance < 2 * chance, `${factor}: ${distance}, expected by chance ${chance}`)
    }
    const distanceOf = (generated: typeof data, factor: string) =>
      factorDistances(data, generated, 0).find((item) => item.factor === factor)!.distance
    const reds = others.filter(({ colour }) => colour === 'red')
    const share = data.filter(({ colour }) => colour === 'red').length / data.length
    close(distanceOf(reds, 'colour'), 1 - share, 1e-12)
    const moved = others.map((factors) => ({ ...factors, x: (factors['x'] as number) + 5 }))
    assert.equal(distanceOf(moved, 'x'), 1)
  })

  test('invalid images and images of another class than the requested one are counted', async () => {
    const parser = await builtInSets.shapes.openParser()
    const dataset = await builtInSets.shapes.create(4, 3)
    const classNames = Array.from(dataset.labels!, (label) => dataset.classes[label]!)
    dataset.pixels.fill(0, 0, 3072)
    const parsed = await parseImages(parser, dataset)
    const { valid, rejected, asRequested } = parsedStatistics(parsed, parsed, classNames, 0)
    assert.equal(valid, 3)
    assert.equal(asRequested, 3)
    assert.deepEqual(Object.values(rejected), [1])
    const others = classNames.map((name, i) => (i === 1 ? 'another class' : name))
    assert.equal(parsedStatistics(parsed, parsed, others, 0).asRequested, 2)
    assert.equal(parsedStatistics(parsed, parsed, null, 0).asRequested, null)
  })
})
