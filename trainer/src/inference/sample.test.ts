import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  domains,
  fillNormals,
  type ModelInfo,
  type Network,
  paperSchedule,
  toSchedulerConfig,
} from '@ddpm/shared'
import { invertImages, sample } from './sample.ts'

const info: ModelInfo = {
  shape: { channels: 1, height: 2, width: 2 },
  classes: [],
  scheduler: toSchedulerConfig(paperSchedule, 'epsilon'),
  sampling: { sampler: 'ddim', steps: 3, spacing: 'trailing', guidance: 1 },
}
/** A model that predicts half of x as noise. */
const network: Network = (x) => x.map((value) => value / 2)

/** More images than fit in a chunk. */
const count = 70

function values(seed: number): Float32Array {
  const out = new Float32Array(count * 4)
  fillNormals(seed, { domain: domains.sampling, image: 0, step: 0 }, out)
  return out.map((value) => Math.tanh(value))
}

const last = (images: Float32Array) => images.subarray(4 * (count - 1))

test('a sample of a later chunk equals the same sample generated alone, and progress counts all images', async () => {
  const progress: number[] = []
  const all = await sample(info, network, { seed: 1, count }, (done, total) => {
    assert.equal(total, count * 3)
    progress.push(done)
  })
  const alone = await sample(info, network, { seed: 1, count: 1, first: count - 1 })
  assert.deepEqual(last(all), alone)
  assert.deepEqual(progress, [64, 128, 192, 198, 204, 210])
})

test('every chunk starts from the images, masks and noise of that chunk', async () => {
  const [init, noise] = [values(1), values(2)]
  const mask = init.map((value) => Number(value > 0))
  for (const start of [{ init, strength: 0.5 }, { init, mask, strength: 1 }, { noise }] as const) {
    const all = await sample(info, network, { seed: 1, count, ...start })
    const ofLast = Object.fromEntries(
      Object.entries(start).map(([name, value]) => [
        name,
        value instanceof Float32Array ? last(value) : value,
      ]),
    )
    const alone = await sample(info, network, { seed: 1, count: 1, first: count - 1, ...ofLast })
    assert.deepEqual(last(all), alone, Object.keys(start).join())
  }
})

test('inversion of a later chunk returns the noise of the images in that chunk', async () => {
  const images = values(3)
  const options = { seed: 1, clamp: null } as const
  const all = await invertImages(info, network, images, { ...options, count })
  const alone = await invertImages(info, network, last(images), { ...options, count: 1 })
  assert.deepEqual(last(all), alone)
})
