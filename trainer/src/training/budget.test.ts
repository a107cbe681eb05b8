import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { validateRecipe } from '../run/recipe-reader.ts'
import { recipes } from '../run/recipes.ts'
import { networkOf } from '../run/run.ts'
import { chooseSize, fieldsOf, type NetworkSize, networkSizes, stepsWithin, withSteps } from './budget.ts'

/** Costs in the ratios of the networks' operations: each doubling of the width costs four times as much. */
const costs: Readonly<Record<NetworkSize, number>> = { small: 1, medium: 4, large: 30, huge: 120 }
const choose = (seconds: number, images: number, secondsPerSmallImage: number) =>
  chooseSize({ seconds, images }, (size) => costs[size] * secondsPerSmallImage)

suite('network for a time', () => {
  test('more time, a faster machine or more images never choose a smaller network', () => {
    const amounts = [1, 10, 100, 1e3, 1e4, 1e5, 1e6]
    const rank = (...args: Parameters<typeof choose>) => networkSizes.indexOf(choose(...args).size)
    for (const time of amounts)
      for (const images of amounts)
        for (const machine of amounts) {
          const here = rank(time, images, 1 / machine)
          assert.ok(rank(10 * time, images, 1 / machine) >= here)
          assert.ok(rank(time, 10 * images, 1 / machine) >= here)
          assert.ok(rank(time, images, 0.1 / machine) >= here)
        }
    assert.equal(rank(1, 1, 1), 0)
    assert.equal(rank(1e6, 1e6, 1e-6), networkSizes.length - 1)
  })

  test('the printed limits are those at which the choice changes', () => {
    const { size, smaller, larger } = choose(3600, 20_000, 0.005)
    assert.ok(smaller && larger)
    assert.equal(choose(0.999 * smaller.below, 20_000, 0.005).size, smaller.size)
    assert.equal(choose(1.001 * smaller.below, 20_000, 0.005).size, size)
    assert.equal(choose(0.999 * larger.from, larger.minImages, 0.005).size, size)
    assert.equal(choose(1.001 * larger.from, larger.minImages, 0.005).size, larger.size)
    assert.equal(choose(1.001 * larger.from, larger.minImages - 1, 0.005).size, size)
  })

  for (const [width, height, lowest] of [
    [32, 32, 8],
    [28, 28, 7],
    [64, 64, 8],
    [64, 48, 12],
    [96, 96, 12],
    [50, 50, 25],
    [33, 33, 33],
    [8, 8, 8],
  ] as const) {
    test(`images of ${width}×${height} get a valid network with a shorter side of ${lowest} at its lowest level`, () => {
      for (const size of networkSizes) {
        const recipe = { ...recipes['images']!, ...fieldsOf(size, { width, height }, 'cpu') }
        validateRecipe(recipe)
        const dataset = { name: 'images', count: 500, channels: 3, height, width, classes: [] }
        const { unet } = networkOf({ version: 1, recipe, dataset })
        assert.equal(Math.min(width, height) / 2 ** (unet.channelMultiples.length - 1), lowest)
      }
    })
  }

  test('the number of steps fills nine tenths of the time, up to 2048 views of each image', () => {
    const steps = (seconds: number, images: number) =>
      stepsWithin(seconds, { batchSize: 16, secondsPerStep: 0.5, images })
    assert.equal(steps(3600, 500), 6480)
    assert.equal(steps(1e6, 500), (2048 * 500) / 16)
    assert.equal(steps(0.1, 500), 1)
  })

  test('a recipe of any length is valid, and validates, samples and saves within the run', () => {
    for (const recipe of Object.values(recipes))
      for (const steps of [1, 7, 100, 12_345, 1e6]) {
        const fitted = withSteps(recipe, steps)
        validateRecipe(fitted)
        for (const field of ['sampleEvery', 'validateEvery', 'checkpointEvery', 'warmup'] as const)
          assert.ok(fitted[field] <= steps, field)
      }
    // Otherwise the average of a short run would still contain the initial weights.
    assert.equal(withSteps(recipes['images']!, 50).emaDecay, 0.9)
  })

  test('a long run keeps the warm-up and the EMA of its recipe', () => {
    const { warmup, emaDecay } = withSteps(recipes['cifar10']!, 400_000)
    assert.deepEqual([warmup, emaDecay], [5000, 0.9999])
  })
})
