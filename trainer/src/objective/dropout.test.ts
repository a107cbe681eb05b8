import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fillDropoutMask } from './dropout.ts'

test('dropout masks have the exact probability and mean, and are independent between steps and between elements', () => {
  for (const probability of [0.1, 0.25, 0.5]) {
    const [first, second] = [0, 1].map((step) => {
      const out = new Float32Array(1e6)
      fillDropoutMask(7, step, probability, out)
      return out
    }) as [Float32Array, Float32Array]
    const scale = Math.fround(1 / (1 - probability))
    const dropped = (mask: Float32Array) => mask.filter((value) => value === 0).length
    assert.ok(first.every((value) => value === 0 || value === scale))
    const deviation = Math.sqrt(probability * (1 - probability) * 1e6)
    assert.ok(
      Math.abs(dropped(first) - probability * 1e6) < 4 * deviation,
      `${dropped(first)} at ${probability}`,
    )
    // Neighbouring elements use the same random word, and all steps use the same seed. They must still be independent.
    const both = (a: Float32Array, b: Float32Array) =>
      a.filter((value, i) => value === 0 && b[i] === 0).length
    for (const other of [second, first.subarray(1), first.subarray(4)]) {
      const expected = probability ** 2 * 1e6
      assert.ok(Math.abs(both(first, other) - expected) < 5 * Math.sqrt(expected))
    }
  }
})
