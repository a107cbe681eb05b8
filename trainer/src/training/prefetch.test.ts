import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createSchedule, paperSchedule } from '@ddpm/shared'
import sharp from 'sharp'
import { split } from '../data/dataset/dataset.ts'
import { MissingImageError } from '../data/dataset/gather.ts'
import { readFolder } from '../data/folder/folder.ts'
import { createShapes } from '../data/shapes/dataset.ts'
import { defaultUNet } from '../network/config.ts'
import { recipes } from '../run/recipes.ts'
import type { Batch } from '../step/engine.ts'
import { createBatchMaker } from './batches.ts'
import { type BatchWorkerData, type Prefetch, prefetch } from './prefetch.ts'

const { train: dataset } = split(createShapes(40, 0), 0.1, 0)
const config = { ...defaultUNet, dropout: 0.25, classes: dataset.classes.length }
const options = { ...recipes['shapes']!, batchSize: 8, flip: true, labelDropout: 0.3 }
const data = { dataset, schedule: paperSchedule, config, options }

/** Hashes the values of a batch. If the values themselves differed, printing the difference would take minutes. */
function digest(batch: Batch): Record<string, string | null> {
  const hash = ({ buffer, byteOffset, byteLength }: Float32Array) =>
    createHash('sha256')
      .update(new Uint8Array(buffer, byteOffset, byteLength))
      .digest('hex')
  return Object.fromEntries(
    Object.entries(batch).map(([name, values]: [string, Float32Array | null]) => [
      name,
      values && hash(values),
    ]),
  )
}

/** Starts a prefetch thread that ends with the test, even if the test fails. */
function start(t: TestContext, data: BatchWorkerData, until: number): Prefetch {
  const source = prefetch(data, until)
  t.after(() => source.close())
  return source
}

test('batches from the thread are bit-identical to those of createBatchMaker, from any start step', async (t) => {
  const batchAt = createBatchMaker(dataset, createSchedule(paperSchedule), config, options)
  for (const [from, until] of [
    [0, 12],
    [7, 9],
  ] as const) {
    const source = start(t, data, until)
    // All batches are compared at the end: a batch must not change while later ones are made.
    const made = []
    for (let step = from; step < until; step++) made.push(await source.batchAt(step))
    made.forEach((batch, i) => {
      assert.deepEqual(digest(batch), digest(batchAt(from + i)))
    })
  }
})

test('batches of images in files equal those of the same images in memory', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'prefetch-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const image = { width: 32, height: 32, channels: 3 } as const
  for (let i = 0; i < dataset.count; i++) {
    const colour = { r: (i * 67) % 256, g: (i * 29) % 256, b: (i * 101) % 256 }
    await mkdir(join(folder, String(i % 2)), { recursive: true })
    await sharp({ create: { ...image, background: colour } }).toFile(join(folder, `${i % 2}/${i}.png`))
  }
  const parts = async (cache?: number) =>
    split(await readFolder(folder, { width: 32, height: 32, channels: 'auto', cache }), 0.1, 0).train
  const whole = await parts()
  const batchAt = createBatchMaker(whole, createSchedule(paperSchedule), config, options)
  for (const cache of [0, 20 * 3072]) {
    const source = start(t, { ...data, dataset: await parts(cache) }, 20)
    for (let step = 0; step < 9; step++)
      assert.deepEqual(digest(await source.batchAt(step)), digest(batchAt(step)))
  }

  const source = start(t, { ...data, dataset: await parts(0) }, 20)
  await rm(folder, { recursive: true })
  await assert.rejects(source.batchAt(0), MissingImageError)
})

test('an error in the thread rejects the batch', async (t) => {
  const source = start(t, { ...data, dataset: { ...dataset, labels: null } }, 10)
  await assert.rejects(source.batchAt(0), TypeError)
})
