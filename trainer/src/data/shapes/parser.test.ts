import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fillNormals } from '@ddpm/shared'
import { toSigned } from '../dataset/dataset.ts'
import {
  background,
  colourNames,
  isRound,
  palette,
  renderShape,
  shapeAt,
  side,
  type ToyShape,
} from './dataset.ts'
import { figures } from './figures.ts'
import { limits, parseShape } from './parser.ts'

const area = side * side
const seed = 20
const count = 100

test('a rendered shape is parsed to its own factors', () => {
  for (const truth of sampleShapes()) {
    const { shape } = parseShape(render(truth))
    assert.ok(shape, JSON.stringify(truth))
    assertNear(shape, truth, 0.08)
  }
})

test('with mild noise, at least 98 of 100 shapes are parsed correctly', () => {
  let right = 0
  sampleShapes().forEach((truth, index) => {
    const { shape } = parseShape(noisy(render(truth), 0.05, index))
    if (shape && shape.figure === truth.figure && shape.colour === truth.colour) {
      assertNear(shape, truth, 0.15)
      right++
    }
  })
  assert.ok(right >= 0.98 * count, `${right} of ${count}`)
})

test('bytes and floats are parsed the same', () => {
  const bytes = render(shapeAt(seed, 0))
  const fromBytes = parseShape(bytes)
  const fromFloats = parseShape(Float32Array.from(bytes, toSigned))
  assert.ok(fromBytes.shape && fromFloats.shape)
  assertNear(fromFloats.shape, fromBytes.shape, 1e-3)
})

test('soft edges are accepted, a blob is rejected', () => {
  for (const truth of sampleShapes(60)) {
    const soft = parseShape(blurred(render(truth), 0.6)).shape
    assert.deepEqual([soft?.figure, soft?.colour], [truth.figure, truth.colour])
    assertRejected(blurred(render(truth), 3))
  }
})

test('rejected: blank images', () => {
  assertRejected(blank(), /no figure/)
  assertRejected(new Uint8Array(3 * area), /background/)
  assertRejected(new Uint8Array(3 * area).fill(255), /no figure/)
})

test('rejected: pure noise', () => {
  for (let index = 0; index < count; index++) {
    const noise = new Float32Array(3 * area)
    fillNormals(seed, { domain: 0, image: index, step: 0 }, noise)
    assertRejected(noise, /background/)
  }
})

test('rejected: NaN', () => {
  const image = Float32Array.from(render(shapeAt(seed, 0)), toSigned)
  image[5] = Number.NaN
  assertRejected(image, /numbers/)
  assert.throws(() => parseShape(new Uint8Array(area)), RangeError)
})

test('rejected: two figures side by side', () => {
  sampleShapes().forEach((truth, index) => {
    const left = render({ ...truth, x: 8, radius: 5 })
    const right = render({ ...shapeAt(seed + 1, index), colour: truth.colour, x: 24, radius: 5 })
    assertRejected(overlaid(left, right), /more than one piece/)
    assertRejected(
      overlaid(
        left,
        render({ ...shapeAt(seed + 1, index), colour: another(truth.colour, index), x: 24, radius: 5 }),
      ),
    )
  })
})

test('rejected: a second, small figure next to a good one', () => {
  for (const truth of sampleShapes()) {
    const small: ToyShape = { ...truth, figure: 'circle', x: 3, y: 3, radius: 2 }
    assertRejected(overlaid(render({ ...truth, x: 17, y: 17, radius: 8 }), render(small)))
  }
})

test('rejected: half a figure', () => {
  for (const truth of sampleShapes()) {
    // The upper half of a triangle is a smaller triangle, so only the other three halves are tested.
    assertRejected(where(render(truth), blank(), (x) => x > truth.x))
    assertRejected(where(render(truth), blank(), (x) => x < truth.x))
    assertRejected(where(render(truth), blank(), (_, y) => y > truth.y))
  }
})

test('rejected: a figure that crosses the edge of the image', () => {
  for (const truth of sampleShapes()) assertRejected(render({ ...truth, x: 2 }))
})

test('rejected: two figures blended equally', () => {
  sampleShapes().forEach((truth, index) => {
    const figure =
      figures[(figures.indexOf(truth.figure) + 1 + (index % (figures.length - 1))) % figures.length]!
    assertRejected(blended(render(truth), render({ ...truth, figure })))
    assertRejected(blended(render(truth), render({ ...shapeAt(seed + 1, index), figure })))
  })
})

test('rejected: a figure of two colours', () => {
  sampleShapes().forEach((truth, index) => {
    const other = render({ ...truth, colour: another(truth.colour, index) })
    assertRejected(where(render(truth), other, (x) => x > truth.x))
    assertRejected(where(render(truth), other, (x, y) => x > truth.x || y > truth.y))
  })
})

test('rejected: a colour outside the palette, another background colour', () => {
  for (const truth of sampleShapes(60)) {
    const grey = recoloured(render(truth), palette[truth.colour], [128, 128, 128])
    assertRejected(grey, /palette/)
    const night = recoloured(render(truth), background, [20, 30, 60])
    assertRejected(night, /background/)
  }
})

test('rejected: a figure squashed to 60 % of its height', () => {
  for (const truth of sampleShapes()) {
    const image = render(truth)
    const squashed = image.map((_, at) => {
      const row = Math.round(16 + (Math.floor((at % area) / side) - 16) / 0.6)
      const plane = at - (at % area)
      return row < 0 || row >= side ? background[plane / area]! : image[plane + row * side + (at % side)]!
    })
    assertRejected(squashed)
  }
})

test('colour tolerances do not overlap', () => {
  const all = [background, ...Object.values(palette)]
  all.forEach((a, i) => {
    for (const b of all.slice(0, i)) {
      assert.ok(Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]) > 2 * limits.colour)
    }
  })
})

function sampleShapes(many = count): ToyShape[] {
  return Array.from({ length: many }, (_, index) => shapeAt(seed, index))
}

function render(shape: ToyShape): Uint8Array {
  const out = new Uint8Array(3 * area)
  renderShape(shape, out)
  return out
}

function blank(): Uint8Array {
  return Uint8Array.from({ length: 3 * area }, (_, index) => background[Math.floor(index / area)]!)
}

function assertNear(actual: ToyShape, truth: ToyShape, tolerance: number): void {
  assert.deepEqual([actual.figure, actual.colour], [truth.figure, truth.colour])
  for (const factor of ['x', 'y', 'radius'] as const) {
    assert.ok(
      Math.abs(actual[factor] - truth[factor]) < tolerance,
      `${factor} of ${JSON.stringify({ actual, truth })}`,
    )
  }
  if (!isRound(truth.figure)) assert.ok(Math.abs(actual.angle - truth.angle) < tolerance / 4)
}

function assertRejected(image: Uint8Array | Float32Array, reason = /./): void {
  const result = parseShape(image)
  assert.equal(result.shape, null)
  if (result.shape === null) assert.match(result.reason, reason)
}

/** @param sigma in units of [−1, 1] */
function noisy(image: Uint8Array, sigma: number, index: number): Float32Array {
  const noise = new Float32Array(image.length)
  fillNormals(seed, { domain: 0, image: index, step: 1 }, noise)
  return noise.map((z, at) => Math.min(1, Math.max(-1, toSigned(image[at]!) + sigma * z)))
}

function blended(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, at) => Math.round((byte + b[at]!) / 2))
}

/** Puts b's figure in front of a's. */
function overlaid(a: Uint8Array, b: Uint8Array): Uint8Array {
  const isPaper = (pixel: number) => background.every((byte, channel) => b[channel * area + pixel] === byte)
  return b.map((byte, at) => (isPaper(at % area) ? a[at]! : byte))
}

/** Takes b's pixels where the condition is true for their centre, and a's elsewhere. */
function where(a: Uint8Array, b: Uint8Array, condition: (x: number, y: number) => boolean): Uint8Array {
  return a.map((byte, at) => {
    const pixel = at % area
    return condition((pixel % side) + 0.5, Math.floor(pixel / side) + 0.5) ? b[at]! : byte
  })
}

function recoloured(image: Uint8Array, from: readonly number[], to: readonly number[]): Uint8Array {
  const out = image.slice()
  for (let pixel = 0; pixel < area; pixel++) {
    if (!from.every((byte, channel) => image[channel * area + pixel] === byte)) continue
    to.forEach((byte, channel) => {
      out[channel * area + pixel] = byte
    })
  }
  return out
}

function another(colour: ToyShape['colour'], index: number): ToyShape['colour'] {
  const step = 1 + (index % (colourNames.length - 1))
  return colourNames[(colourNames.indexOf(colour) + step) % colourNames.length]!
}

/** Gaussian blur, rows then columns. @param sigma pixels */
function blurred(image: Uint8Array, sigma: number): Uint8Array {
  const reach = Math.ceil(3 * sigma)
  const offsets = Array.from({ length: 2 * reach + 1 }, (_, at) => at - reach)
  const weights = offsets.map((offset) => Math.exp(-(offset ** 2) / (2 * sigma ** 2)))
  const total = weights.reduce((a, b) => a + b)
  const inside = (at: number) => Math.min(side - 1, Math.max(0, at))
  const along = (values: Float64Array, neighbour: (x: number, y: number, offset: number) => number) =>
    values.map((_, at) => {
      const plane = at - (at % area)
      const x = at % side
      const y = Math.floor((at % area) / side)
      return (
        offsets.reduce((sum, offset, k) => sum + weights[k]! * values[plane + neighbour(x, y, offset)]!, 0) /
        total
      )
    })
  const rows = along(Float64Array.from(image), (x, y, offset) => y * side + inside(x + offset))
  return Uint8Array.from(
    along(rows, (x, y, offset) => inside(y + offset) * side + x),
    Math.round,
  )
}
