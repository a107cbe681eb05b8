import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SamplerError, UserError } from 'ddpm-sampler'
import { explainError } from './error-text.ts'

const hash = 'ab'.repeat(32)

test('hashes and addresses are details, not part of the sentence', () => {
  for (const code of ['hash-mismatch', 'offline', 'not-found', 'server', 'unsupported'] as const) {
    const message = `Wrong contents of https://example.org/files/${hash}: expected SHA-256 ${hash}.`
    const { sentence, details } = explainError(new SamplerError(code, message))
    assert.match(sentence, /^[^.]+\.$/, 'one sentence')
    assert.doesNotMatch(sentence, /https|[0-9a-f]{64}/)
    assert.equal(details, message)
  }
})

test('the first sentence of another error for users is shown, and the others are details', () => {
  assert.deepEqual(
    explainError(new UserError('Unknown class "cold" in the link. Classes of test/discs: light.')),
    {
      sentence: 'Unknown class "cold" in the link.',
      details: 'Classes of test/discs: light.',
    },
  )
  assert.deepEqual(explainError(new UserError('Cannot read a.png: not an image.')), {
    sentence: 'Cannot read a.png: not an image.',
    details: null,
  })
})

test('the message of an unexpected error is a detail', () => {
  const { sentence, details } = explainError(new TypeError('x is not a function'))
  assert.match(sentence, /^Something went wrong: .+\.$/)
  assert.equal(details, 'x is not a function')
})
