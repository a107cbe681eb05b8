import assert from 'node:assert/strict'
import { test } from 'node:test'
import { samplers, UserError } from '@ddpm/shared'
import fc from 'fast-check'
import { fromQuery, type Settings, toQuery } from './settings.ts'

test('a link brings back every setting', () => {
  const settings: fc.Arbitrary<Settings> = fc.record(
    {
      model: fc.stringMatching(/^[A-Za-z0-9][\w.-]{0,9}\/[A-Za-z0-9][\w.-]{0,9}$/),
      className: fc.string({ minLength: 1, unit: 'grapheme' }),
      guidance: fc.double({ min: 0, max: 100, noNaN: true }).map((value) => value + 0),
      count: fc.integer({ min: 1, max: 64 }),
      seed: fc.maxSafeNat(),
      sampler: fc.constantFrom(...samplers),
      steps: fc.integer({ min: 1, max: 1000 }),
    },
    { noNullPrototype: true },
  )
  fc.assert(fc.property(settings, (given) => assert.deepEqual(fromQuery(toQuery(given)), given)))
})

test('a link is readable', () => {
  const settings: Settings = {
    model: 'ada/digits',
    className: null,
    guidance: 1,
    count: 16,
    seed: 42,
    sampler: 'ddim',
    steps: 50,
  }
  assert.equal(toQuery(settings), '?model=ada/digits&seed=42&count=16&sampler=ddim&steps=50&guidance=1')
})

test('an impossible link is refused with what it says and what is possible', () => {
  const cases = [
    ['?seed=abc', /seed=abc; expected a whole number from 0 to 9007199254740991/],
    ['?seed=', /seed=; expected a whole number/],
    ['?count=65', /count=65; expected a whole number from 1 to 64/],
    ['?count=1.5', /count=1\.5; expected a whole number/],
    ['?sampler=pndm', /sampler=pndm; expected ddpm, ddim, dpmpp/],
    ['?guidance=-1', /guidance=-1; expected a number from 0/],
  ] as const
  for (const [link, message] of cases) {
    assert.throws(
      () => fromQuery(link),
      (error) => error instanceof UserError && message.test(error.message),
    )
  }
})
