import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openTfjs } from '../../../../test/support/tfjs.ts'
import { createGraph } from '../../algebra/graph.ts'
import { toTfjs } from './model.ts'

test('weights are split into shards of 4 MiB; only the last shard is smaller', async () => {
  const { ops, input } = createGraph()
  const size = 2_200_000
  const weight = Float32Array.from({ length: size }, (_, i) => i % 1009)
  const output = ops.add(input('x', ['N', 1]), input('weight', [1, size]))
  const files = toTfjs({ output }, { weights: new Map([['weight', weight]]) })
  assert.deepEqual(
    files.map(({ path, bytes }) => [path, path === 'model.json' || bytes.length]),
    [
      ['group1-shard1of3.bin', 4194304],
      ['group1-shard2of3.bin', 4194304],
      ['group1-shard3of3.bin', 411392],
      ['model.json', true],
    ],
  )
  const model = await openTfjs(files)
  const { values } = model.run({ x: { shape: [2, 1], values: Float32Array.of(0, 1000) } })
  assert.deepEqual(values.subarray(0, size), weight)
  assert.equal(values[2 * size - 1], 1000 + weight[size - 1]!)
})
