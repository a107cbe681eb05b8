import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toHalf } from './half.ts'

/** Binary16 as IEEE 754 defines it: sign, five bits of exponent, ten of the fraction. */
function decoded(half: number): number {
  const [sign, exponent, fraction] = [half >> 15, (half >> 10) & 31, half & 1023]
  const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15)
  return sign === 1 ? -magnitude : magnitude
}

test('every finite half comes back as itself', () => {
  const halves = Array.from({ length: 0x10000 }, (_, half) => half).filter((half) => ((half >> 10) & 31) < 31)
  const found = toHalf(Float32Array.from(halves, decoded))
  assert.deepEqual([...found], halves)
})

test('what lies between two is rounded to the nearer, a tie to the even one', () => {
  // As Python's struct.pack("<e", …) has them.
  const found = toHalf(Float32Array.of(1 / 3, 0.1, Math.PI, 2049, 2051, 65519, 2 ** -25, 1.5 * 2 ** -24))
  assert.deepEqual([...found], [0x3555, 0x2e66, 0x4248, 0x6800, 0x6802, 0x7bff, 0, 2])
})

test('a number that no half comes near is refused', () => {
  for (const value of [65520, -1e6, Number.POSITIVE_INFINITY, Number.NaN])
    assert.throws(() => toHalf(Float32Array.of(value)), /half precision ends at 65504/)
})
