import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSchedule, paperSchedule } from '@ddpm/shared'
import { batchMaker } from './batches.ts'
import { split } from './data/dataset.ts'
import { shapes } from './data/shapes.ts'
import { prefetch } from './prefetch.ts'
import { recipes } from './recipes.ts'
import { defaultUNet } from './unet.ts'

const { train: dataset } = split(shapes(40, 0), 0.1, 0)
const config = { ...defaultUNet, dropout: 0.25, classes: dataset.classes.length }
const options = { ...recipes['shapes']!, batchSize: 8, flip: true, labelDropout: 0.3 }
const data = { dataset, schedule: paperSchedule, config, options }

test('batches of the thread are bit for bit those of batchMaker, from any step on', async () => {
  const batchAt = batchMaker(dataset, createSchedule(paperSchedule), config, options)
  for (const [from, until] of [
    [0, 12],
    [7, 9],
  ] as const) {
    const source = prefetch(data, until)
    // Kept until the end: a batch must not change when the next ones are made.
    const made = []
    for (let step = from; step < until; step++) made.push(await source.batchAt(step))
    made.forEach((batch, i) => {
      assert.deepEqual(batch, batchAt(from + i))
    })
    await source.close()
  }
})

test('a thread that fails is heard of', async () => {
  const source = prefetch({ ...data, dataset: { ...dataset, labels: null } }, 10)
  await assert.rejects(source.batchAt(0), TypeError)
  await source.close()
})
