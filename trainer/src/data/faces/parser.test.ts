import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fillNormals } from '@ddpm/shared'
import { toSigned } from '../dataset/dataset.ts'
import { gridSide, loadArt } from './art.ts'
import { attributesOf, backgrounds, classNameOf, type Face, faceAt, renderFace, side } from './dataset.ts'
import { limits, parseFace } from './parser.ts'

const art = await loadArt()
const area = side * side
const count = 30

const faces = Array.from({ length: count }, (_, index) => faceAt(art, 5, index))

function render(face: Face): Uint8Array {
  const out = new Uint8Array(3 * area)
  renderFace(art, face, out)
  return out
}

const className = (face: Face) => classNameOf(attributesOf(art, face))

/** Counts the images that are parsed to a face with the right attributes. */
function countRight(images: readonly (Uint8Array | Float32Array)[]): number {
  return images.filter((image, index) => {
    const { face } = parseFace(art, image)
    return face !== null && className(face) === className(faces[index]!)
  }).length
}

function countAccepted(images: readonly (Uint8Array | Float32Array)[]): number {
  return images.filter((image) => parseFace(art, image).face !== null).length
}

/** Applies a function to the position of every cell, and takes the cell from there. */
function rearranged(
  image: Uint8Array,
  source: (row: number, column: number) => readonly [number, number],
): Uint8Array {
  return image.map((_, at) => {
    const [channel, row, column] = [Math.floor(at / area), Math.floor((at % area) / side), at % side]
    const [fromRow, fromColumn] = source(row >> 1, column >> 1)
    return image[channel * area + (2 * fromRow + (row & 1)) * side + 2 * fromColumn + (column & 1)]!
  })
}

/** Returns the distance between the colours of two backgrounds. */
function contrast(a: number, b: number): number {
  return Math.hypot(...backgrounds[a]!.map((value, channel) => value - backgrounds[b]![channel]!))
}

test('faces are recognized with all of their attributes', () => {
  assert.ok(countRight(faces.map(render)) >= count - 1)
})

test('faces with mild noise are recognized', () => {
  const images = faces.map((face, index) => {
    const noise = new Float32Array(3 * area)
    fillNormals(1, { domain: 0, image: index, step: 0 }, noise)
    return Float32Array.from(render(face), (byte, at) => toSigned(byte) + 0.05 * noise[at]!)
  })
  const right = countRight(images)
  assert.ok(right >= 0.95 * count, `${right} of ${count}`)
})

test('refused: noise, and faces with strong noise', () => {
  const noisy = (amount: number) =>
    faces.slice(0, 30).map((face, index) => {
      const noise = new Float32Array(3 * area)
      fillNormals(2, { domain: 0, image: index, step: 0 }, noise)
      return Float32Array.from(
        render(face),
        (byte, at) => toSigned(byte) * (1 - amount) + amount * noise[at]!,
      )
    })
  assert.equal(countAccepted(noisy(1)), 0)
  assert.equal(countAccepted(noisy(0.4)), 0)
})

test('refused: blurred faces', () => {
  const blurred = faces.map(render).map((image) =>
    image.map((_, at) => {
      const [channel, row, column] = [Math.floor(at / area), Math.floor((at % area) / side), at % side]
      let sum = 0
      let weights = 0
      for (let dy = -2; dy <= 2; dy++) {
        for (let dx = -2; dx <= 2; dx++) {
          const [y, x] = [row + dy, column + dx]
          if (y < 0 || x < 0 || y >= side || x >= side) continue
          sum += image[channel * area + y * side + x]!
          weights++
        }
      }
      return sum / weights
    }),
  )
  assert.equal(countAccepted(blurred), 0)
})

test('refused: faces whose mouth and eyes changed places, and upper halves on lower halves with another background', () => {
  const swapped = faces.map(render).map((image) =>
    rearranged(image, (row, column) => {
      if (row >= 5 && row <= 7) return [row + 4, column]
      return row >= 9 && row <= 11 ? [row - 4, column] : [row, column]
    }),
  )
  assert.equal(countAccepted(swapped), 0)
  const halves = faces.map((face) => {
    const other = faces.find(({ background }) => contrast(background, face.background) > limits.colour)!
    const [upper, lower] = [render(face), render(other)]
    return upper.map((byte, at) => ((at % area) / side < side / 2 ? byte : lower[at]!))
  })
  assert.equal(countAccepted(halves), 0)
})

test('refused: faces that are shifted by a cell or by half a cell', () => {
  const shifted = faces
    .map(render)
    .map((image) =>
      rearranged(image, (row, column) => [row, Math.max(0, Math.min(gridSide - 1, column - 1))]),
    )
  assert.ok(countAccepted(shifted) <= 2)
  const half = faces.map(render).map((image) => image.map((_, at) => image[at % side === 0 ? at : at - 1]!))
  assert.equal(countAccepted(half), 0)
})

test('refused: NaN. An image of another size is an error', () => {
  const image = Float32Array.from(render(faces[0]!), toSigned)
  image[7] = Number.NaN
  assert.deepEqual(parseFace(art, image), { face: null, reason: 'some values are not numbers' })
  assert.throws(() => parseFace(art, new Uint8Array(area)), RangeError)
})
