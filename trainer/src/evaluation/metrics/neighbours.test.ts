import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nearestRows } from './neighbours.ts'

function close(actual: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual}, expected ${expected}`)
}

test('finds the nearest row to a row with a little noise', () => {
  const candidates = {
    count: 50,
    dims: 3,
    values: Float32Array.from({ length: 150 }, (_, i) => Math.sin(i * 7)),
  }
  const queries = { count: 2, dims: 3, values: Float32Array.of(...candidates.values.slice(60, 63), 9, 9, 9) }
  queries.values[0]! += 0.01
  const [first] = nearestRows(queries, candidates)
  assert.equal(first!.index, 20)
  close(first!.distance, 0.01, 1e-6)
})
