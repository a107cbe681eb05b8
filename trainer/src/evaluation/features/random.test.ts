import assert from 'node:assert/strict'
import { test } from 'node:test'
import { waves } from '../../../../test/support/waves.ts'
import type { Dataset } from '../../data/dataset/dataset.ts'
import { compare } from '../metrics/compare.ts'
import { openRandomExtractor } from './random.ts'

const side = 16
const datasetOf = (images: readonly Uint8Array[]): Dataset => ({
  ...{
    name: 'waves',
    channels: 3,
    height: side,
    width: side,
    count: images.length,
    classes: [],
    labels: null,
  },
  pixels: Uint8Array.from(Buffer.concat(images)),
})
const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => waves(from + i, side))

test('random features detect noise and lost colours, and do not distinguish images of the same kind', async () => {
  const real = datasetOf(range(0, 200))
  const extractor = await openRandomExtractor(real)
  const features = await extractor.extract(real)
  const kid = async (images: readonly Uint8Array[], replicates = 0) => {
    const options = { neighbours: 5, replicates, seed: 0 }
    return compare(features, await extractor.extract(datasetOf(images)), options).kid
  }
  const others = range(1000, 200)
  const same = await kid(others, 40)
  assert.ok(Math.abs(same.value) < 2 * same.halfWidth!, `KID of the same kind: ${same.value}`)
  const noisy = others.map((image) =>
    image.map((byte, i) => Math.min(255, Math.max(0, byte + ((i * 73) % 101) - 50))),
  )
  const grey = others.map((image) => image.map((_, i) => image[i % (side * side)]!))
  for (const changed of [noisy, grey]) assert.ok((await kid(changed)).value > 5 * same.halfWidth!)
  await extractor.dispose()
})

test('the features are the same in every process, for grey and for other than square images', async () => {
  const pixels = Uint8Array.from({ length: 10 * 12 * 20 }, (_, i) => (i * 37) % 251)
  const images = { channels: 1, height: 12, width: 20, pixels }
  const dataset: Dataset = { ...images, name: 'grey', count: 10, classes: [], labels: null }
  const [a, b] = [await openRandomExtractor(dataset), await openRandomExtractor(dataset)]
  assert.equal(a.digest, b.digest)
  const [x, y] = [await a.extract(images), await b.extract(images)]
  assert.deepEqual(x, y)
  assert.deepEqual([x.count, x.dims], [10, 64])
  const meanSquare = x.values.reduce((sum, value) => sum + value ** 2, 0) / x.values.length
  assert.ok(Math.abs(meanSquare - 1) < 1e-4, `mean square ${meanSquare}`)
  for (const extractor of [a, b]) await extractor.dispose()
})
