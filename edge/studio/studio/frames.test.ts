import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createFilm, type Frame, spliced } from './frames.ts'

/** A picture of so many bytes; a film asks for nothing else. */
function image(bytes = 100): ImageData {
  return { data: { byteLength: bytes } } as unknown as ImageData
}

function frame(step: number, steps: number): Frame {
  return { step, steps, t: steps - step, x: [image()], x0: [image()] }
}

test('whatever comes, a film stays within its bound, evenly spaced, from the first frame to the last', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 600, max: 20_000 }), (steps, most) => {
      const film = createFilm(most)
      for (let step = 0; step <= steps; step++) {
        film.add(frame(step, steps))
        const kept = film.frames.map((kept) => kept.step)
        assert.equal(kept[0], 0)
        assert.equal(kept.at(-1), step)
        assert.ok((film.frames.length - 1) * 200 <= most, `${film.frames.length} frames`)
        const strides = kept.slice(1).map((value, i) => value - kept[i]!)
        assert.ok(
          strides.slice(0, -1).every((stride) => stride === strides[0]),
          `${kept}`,
        )
      }
    }),
  )
})

test('nothing is let go without need', () => {
  const film = createFilm()
  for (let step = 0; step <= 50; step++) film.add(frame(step, 50))
  assert.equal(film.frames.length, 51)
})

test('films of two parts lie side by side', () => {
  const [a, b] = [0, 1].map(() => [frame(0, 2), frame(1, 2), frame(2, 2)]) as [Frame[], Frame[]]
  const both = spliced([a, b])
  assert.equal(both.length, 3)
  for (const [i, { step, x, x0 }] of both.entries()) {
    assert.equal(step, i)
    assert.deepEqual([x[0], x[1]], [a[i]!.x[0], b[i]!.x[0]])
    assert.equal(x0?.length, 2)
  }
})
