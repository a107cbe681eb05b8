import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromFile, toSharp, waves } from '../../../test/support/waves.ts'
import { findNearest, isCopy } from './nearest.ts'

const side = 16
const stack = (images: readonly Uint8Array[]) => ({
  channels: 3,
  height: side,
  width: side,
  pixels: Uint8Array.from(Buffer.concat(images)),
})
const real = Array.from({ length: 600 }, (_, i) => waves(i, side))
const others = Array.from({ length: 990 }, (_, i) => waves(1000 + i, side))

/** Copies of ten real images: equal, noisy, compressed, and mirrored. */
async function copies(): Promise<Uint8Array[]> {
  const noisy = (pixels: Uint8Array) =>
    pixels.map((byte, i) => Math.min(255, Math.max(0, byte + ((i * 37) % 31) - 15)))
  const compressed = async (pixels: Uint8Array) =>
    fromFile(await toSharp(pixels, side).jpeg({ quality: 50 }).toBuffer())
  const mirrored = async (pixels: Uint8Array) => fromFile(await toSharp(pixels, side).flop().png().toBuffer())
  return Promise.all(
    real.slice(40, 50).map((pixels, i) => {
      if (i < 2) return pixels
      return i < 5 ? noisy(pixels) : i < 8 ? compressed(pixels) : mirrored(pixels)
    }),
  )
}

test('finds 10 copies of real images among 1000 images, and no others', async () => {
  const samples = stack([...others.slice(0, 500), ...(await copies()), ...others.slice(500)])
  const found = await findNearest(samples, stack(real))
  const marked = found.flatMap((nearest, i) => (isCopy(nearest) ? [[i, nearest.index]] : []))
  assert.deepEqual(
    marked,
    Array.from({ length: 10 }, (_, i) => [500 + i, 40 + i]),
  )
  assert.equal(found[500]!.distance, 0)
  assert.equal(found[509]!.distance, 0, 'a mirror image has distance 0')
})

test('an image is not its own neighbour, but an equal image is', async () => {
  const set = stack([...real.slice(0, 60), real[7]!])
  const self = [7, 8]
  const found = await findNearest(stack(self.map((i) => real[i]!)), set, undefined, self)
  assert.deepEqual([found[0]!.index, found[0]!.ratio], [60, 0])
  assert.notEqual(found[1]!.index, 8)
  assert.equal(isCopy(found[1]!), false)
})
