import assert from 'node:assert/strict'
import { test } from 'node:test'
import { suggest } from './suggest.ts'

test('the nearest candidate is suggested, or none if all candidates are too different', () => {
  const commands = ['train', 'sample', 'export', 'publish']
  assert.equal(suggest('trian', commands), ' Did you mean "train"?')
  assert.equal(suggest('SAMPLES', commands), ' Did you mean "sample"?')
  assert.equal(suggest('quantize', commands), '')
  assert.equal(suggest('train', []), '')
})
