import assert from 'node:assert/strict'
import { test } from 'node:test'
import { byteCount, portNumber, wholeBetween } from './command.ts'

test('sizes are read as people write them', () => {
  for (const [text, bytes] of [
    ['0', 0],
    ['4096', 4096],
    ['2kB', 2000],
    ['500MB', 5e8],
    ['1.5 GB', 1.5e9],
    ['2TB', 2e12],
  ] as const) {
    assert.equal(byteCount(text), bytes)
  }
  for (const text of ['', 'MB', '-1', '1e3', '5k', '5XB', 'much', '1,5GB']) {
    assert.throws(() => byteCount(text), {
      name: 'UserError',
      message: `Found "${text}"; expected a size like 500MB or 4GB.`,
    })
  }
})

test('whole numbers within bounds', () => {
  assert.deepEqual(['1', '7', '10'].map(wholeBetween(1, 10)), [1, 7, 10])
  for (const text of ['0', '11', '-1', '1.5', 'x', ''])
    assert.throws(() => wholeBetween(1, 10)(text), /^UserError/)
  assert.equal(portNumber('65535'), 65535)
  assert.throws(() => portNumber('65536'), /Found 65536; expected a whole number from 0 to 65535/)
})
