import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fc } from '../../../test/support/properties.ts'
import { createFrameBuffer, type Frame, mergeFrames } from './frames.ts'

/** A fake image: the buffer only reads its size. */
function image(bytes = 100): ImageData {
  return { data: { byteLength: bytes } } as unknown as ImageData
}

function frame(step: number, steps: number): Frame {
  return { step, steps, t: steps - step, x: [image()], x0: [image()] }
}

test('the buffer retains evenly spaced frames within its limit, including the first and the last', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 400 }),
      fc.integer({ min: 600, max: 20_000 }),
      (steps, maxBytes) => {
        const buffer = createFrameBuffer(maxBytes)
        for (let step = 0; step <= steps; step++) {
          buffer.add(frame(step, steps))
          const stored = buffer.frames.map((frame) => frame.step)
          assert.equal(stored[0], 0)
          assert.equal(stored.at(-1), step)
          assert.ok((buffer.frames.length - 1) * 200 <= maxBytes, `${buffer.frames.length} frames`)
          const strides = stored.slice(1).map((value, i) => value - stored[i]!)
          assert.ok(
            strides.slice(0, -1).every((stride) => stride === strides[0]),
            `${stored}`,
          )
        }
      },
    ),
  )
})

test('no frame is dropped below the limit', () => {
  const buffer = createFrameBuffer()
  for (let step = 0; step <= 50; step++) buffer.add(frame(step, 50))
  assert.equal(buffer.frames.length, 51)
})

test('mergeFrames puts the images of two parts side by side', () => {
  const [a, b] = [0, 1].map(() => [frame(0, 2), frame(1, 2), frame(2, 2)]) as [Frame[], Frame[]]
  const merged = mergeFrames([a, b])
  assert.equal(merged.length, 3)
  for (const [i, { step, x, x0 }] of merged.entries()) {
    assert.equal(step, i)
    assert.deepEqual([x[0], x[1]], [a[i]!.x[0], b[i]!.x[0]])
    assert.equal(x0?.length, 2)
  }
})
