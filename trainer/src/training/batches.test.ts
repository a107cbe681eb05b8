import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSchedule, paperSchedule } from '@ddpm/shared'
import { createShapes } from '../data/shapes/dataset.ts'
import { defaultUNet } from '../network/config.ts'
import { recipes } from '../run/recipes.ts'
import { createBatchMaker } from './batches.ts'

test('batches contain the coefficients of x_t and v, and drop labels and channels at the configured rates', () => {
  const dataset = createShapes(32, 0)
  const schedule = createSchedule(paperSchedule)
  const config = { ...defaultUNet, dropout: 0.25, classes: dataset.classes.length }
  const options = { ...recipes['shapes']!, batchSize: 16, labelDropout: 0.3, predictionType: 'v' as const }
  const batchAt = createBatchMaker(dataset, schedule, config, options)

  const counts = { times: new Set<number>(), unlabelled: 0, dropped: 0, masks: 0 }
  for (let step = 0; step < 60; step++) {
    const { timestep, label, coefficients, dropout } = batchAt(step)
    timestep.forEach((t, i) => {
      counts.times.add(t)
      const alphaBar = schedule.alphasCumprod[t]!
      const expected = [
        Math.sqrt(alphaBar),
        Math.sqrt(1 - alphaBar),
        -Math.sqrt(1 - alphaBar),
        Math.sqrt(alphaBar),
        1,
      ]
      expected.forEach((value, k) => {
        assert.ok(Math.abs(coefficients[i * 5 + k]! - value) < 1e-6)
      })
      if (label![i] === dataset.classes.length) counts.unlabelled += 1
    })
    counts.dropped += dropout!.filter((mask) => mask === 0).length
    counts.masks += dropout!.length
    assert.ok(dropout!.every((mask) => mask === 0 || Math.abs(mask - 4 / 3) < 1e-6))
  }
  const count = 960
  assert.ok(Math.abs(counts.unlabelled / count - 0.3) < 4 * Math.sqrt(0.21 / count))
  assert.ok(Math.abs(counts.dropped / counts.masks - 0.25) < 4 * Math.sqrt(0.1875 / counts.masks))
  assert.ok(Math.min(...counts.times) < 20 && Math.max(...counts.times) > 980)

  // Two batches of 16 are one epoch of 32 images, so each image occurs once.
  const first = batchAt(0).x0.slice()
  const images = [first, batchAt(1).x0].flatMap((x0) =>
    Array.from({ length: 16 }, (_, i) => String(x0.subarray(i * 3072, (i + 1) * 3072))),
  )
  assert.equal(new Set(images).size, 32)
  assert.deepEqual([...batchAt(0).x0], [...first])
})
