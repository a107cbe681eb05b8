import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHalf } from './half.ts'

/** Decodes binary16 as IEEE 754 defines it: sign, five bits of exponent, ten bits of fraction. */
function decode(half: number): number {
  const [sign, exponent, fraction] = [half >> 15, (half >> 10) & 31, half & 1023]
  const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15)
  return sign === 1 ? -magnitude : magnitude
}

test('every finite half-precision number is unchanged after a round trip through float32', () => {
  const halves = Array.from({ length: 0x10000 }, (_, half) => half).filter((half) => ((half >> 10) & 31) < 31)
  const actual = toHalf(Float32Array.from(halves, decode))
  assert.deepEqual([...actual], halves)
})

test('numbers between two half-precision numbers are rounded to the nearest, ties to even', () => {
  // The expected bits are those of Python's struct.pack("<e", …).
  const actual = toHalf(Float32Array.of(1 / 3, 0.1, Math.PI, 2049, 2051, 65519, 2 ** -25, 1.5 * 2 ** -24))
  assert.deepEqual([...actual], [0x3555, 0x2e66, 0x4248, 0x6800, 0x6802, 0x7bff, 0, 2])
})

test('a number outside the range of half precision is rejected', () => {
  for (const value of [65520, -1e6, Number.POSITIVE_INFINITY, Number.NaN])
    assert.throws(
      () => toHalf(Float32Array.of(value)),
      /Invalid weight .* for half precision: expected at most 65504/,
    )
})
