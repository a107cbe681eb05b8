import assert from 'node:assert/strict'
import { test } from 'node:test'
import { median, quantile } from './statistics.ts'

test('quantiles are interpolated between order statistics, and the values are not changed', () => {
  const values = [3, 1, 2, 5]
  assert.deepEqual(
    [0, 0.25, 0.5, 0.9, 1].map((p) => quantile(values, p)),
    [1, 1.75, 2.5, 4.4, 5],
  )
  assert.deepEqual(values, [3, 1, 2, 5])
  assert.equal(quantile([7], 0.3), 7)
  assert.equal(quantile(Float32Array.of(-10, -9, 100), 0.5), -9)
})

test('the median is the middle value, or the mean of the two middle values', () => {
  assert.equal(median([9, 1, 4]), 4)
  assert.equal(median([9, 1, 4, 5]), 4.5)
})
