import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createSchedule, paperSchedule } from '@ddpm/shared'
import sharp from 'sharp'
import { split } from '../data/dataset.ts'
import { readFolder } from '../data/folder.ts'
import { ImageMissing } from '../data/gather.ts'
import { shapes } from '../data/shapes/dataset.ts'
import { defaultUNet } from '../network/unet.ts'
import { recipes } from '../run/recipes.ts'
import type { Batch } from '../step/engine.ts'
import { batchMaker } from './batches.ts'
import { type BatchWorkerData, type Prefetch, prefetch } from './prefetch.ts'

const { train: dataset } = split(shapes(40, 0), 0.1, 0)
const config = { ...defaultUNet, dropout: 0.25, classes: dataset.classes.length }
const options = { ...recipes['shapes']!, batchSize: 8, flip: true, labelDropout: 0.3 }
const data = { dataset, schedule: paperSchedule, config, options }

/** A batch's values in short: a failure that showed them would take minutes to write. */
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

/** A thread that ends with the test, also when that fails. */
function opened(t: TestContext, data: BatchWorkerData, until: number): Prefetch {
  const source = prefetch(data, until)
  t.after(() => source.close())
  return source
}

test('batches of the thread are bit for bit those of batchMaker, from any step on', async (t) => {
  const batchAt = batchMaker(dataset, createSchedule(paperSchedule), config, options)
  for (const [from, until] of [
    [0, 12],
    [7, 9],
  ] as const) {
    const source = opened(t, data, until)
    // Kept until the end: a batch must not change when the next ones are made.
    const made = []
    for (let step = from; step < until; step++) made.push(await source.batchAt(step))
    made.forEach((batch, i) => {
      assert.deepEqual(digest(batch), digest(batchAt(from + i)))
    })
  }
})

test('batches of pictures that stay in their files are those of the same pictures in memory', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'prefetch-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const image = { width: 32, height: 32, channels: 3 } as const
  for (let i = 0; i < dataset.count; i++) {
    const colour = { r: (i * 67) % 256, g: (i * 29) % 256, b: (i * 101) % 256 }
    await mkdir(join(folder, String(i % 2)), { recursive: true })
    await sharp({ create: { ...image, background: colour } }).toFile(join(folder, `${i % 2}/${i}.png`))
  }
  const parts = async (cache?: number) =>
    split(await readFolder(folder, { size: 32, channels: 'auto', cache }), 0.1, 0).train
  const whole = await parts()
  const batchAt = batchMaker(whole, createSchedule(paperSchedule), config, options)
  for (const cache of [0, 20 * 3072]) {
    const source = opened(t, { ...data, dataset: await parts(cache) }, 20)
    for (let step = 0; step < 9; step++)
      assert.deepEqual(digest(await source.batchAt(step)), digest(batchAt(step)))
  }

  const source = opened(t, { ...data, dataset: await parts(0) }, 20)
  await rm(folder, { recursive: true })
  await assert.rejects(source.batchAt(0), ImageMissing)
})

test('a thread that fails is heard of', async (t) => {
  const source = opened(t, { ...data, dataset: { ...dataset, labels: null } }, 10)
  await assert.rejects(source.batchAt(0), TypeError)
})
