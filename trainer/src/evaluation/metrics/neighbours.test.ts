import assert from 'node:assert/strict'
import { test } from 'node:test'
import { squaredDistance } from './features.ts'
import { blocksOf, nearestRows } from './neighbours.ts'

const rows = (count: number, phase: number) => ({
  count,
  dims: 3,
  values: Float32Array.from({ length: 3 * count }, (_, i) => Math.sin(i * 7 + phase)),
})

test('finds the same nearest rows as a sort of all distances, in more rows than a block has', async () => {
  const [queries, candidates] = [rows(1100, 0.5), rows(1500, 0)]
  const found = await nearestRows(queries, blocksOf(candidates), 4)
  for (const i of [0, 517, 1099]) {
    const all = Array.from({ length: 1500 }, (_, j) => Math.sqrt(squaredDistance(queries, i, candidates, j)))
    assert.deepEqual(
      found[i]!.map(({ distance }) => distance),
      all.sort((a, b) => a - b).slice(0, 4),
    )
    for (const { index, distance } of found[i]!)
      assert.equal(distance, Math.sqrt(squaredDistance(queries, i, candidates, index)))
  }
})

test('returns all candidates if there are fewer than k, and distance 0 for an equal row', async () => {
  const candidates = rows(5, 0)
  const [found] = await nearestRows({ ...candidates, count: 1 }, blocksOf(candidates), 9)
  assert.equal(found!.length, 5)
  assert.deepEqual(found![0], { index: 0, distance: 0 })
})
