import assert from 'node:assert/strict'
import { test } from 'node:test'
import { samplers, timestepSpacings, UserError } from '@ddpm/shared'
import fc from 'fast-check'
import {
  deterministic,
  fromLink,
  hasOrder,
  isStochastic,
  type Settings,
  type Start,
  toLink,
} from './settings.ts'

const part = fc.double({ min: 0, max: 1, noNaN: true }).map((value) => value + 0)
const index = fc.integer({ min: 0, max: 2 ** 32 - 1 })

/** Own pictures need a canvas; the browser's test has them. */
const start: fc.Arbitrary<Start> = fc.oneof(
  fc.constant({ kind: 'noise' } as const),
  fc.record(
    { kind: fc.constant('near' as const), image: index, distance: part, other: fc.maxSafeNat() },
    { noNullPrototype: true },
  ),
  fc.record(
    {
      kind: fc.constant('between' as const),
      image: index,
      to: fc.record({ seed: fc.maxSafeNat(), image: index }, { noNullPrototype: true }),
    },
    { noNullPrototype: true },
  ),
)

const settings: fc.Arbitrary<Settings> = fc.record(
  {
    model: fc.stringMatching(/^[A-Za-z0-9][\w.-]{0,9}\/[A-Za-z0-9][\w.-]{0,9}$/),
    class: fc.option(fc.string({ minLength: 1, unit: 'grapheme' })),
    guidance: fc.double({ min: 0, max: 100, noNaN: true }).map((value) => value + 0),
    guidanceRescale: part,
    count: fc.integer({ min: 1, max: 64 }),
    seed: fc.maxSafeNat(),
    sampler: fc.constantFrom(...samplers),
    steps: fc.integer({ min: 1, max: 1000 }),
    spacing: fc.constantFrom(...timestepSpacings),
    eta: fc.oneof(part, fc.constant('hat' as const)),
    order: fc.constantFrom(1, 2, 3),
    start,
  },
  { noNullPrototype: true },
)

test('a link brings back every setting that has a say', async () => {
  await fc.assert(
    fc.asyncProperty(settings, async (given) => {
      const { eta, order, guidanceRescale, class: named, start, ...rest } = given
      const expected = {
        ...rest,
        ...(given.sampler === 'ddim' && { eta }),
        ...(hasOrder(given.sampler) && { order }),
        ...(guidanceRescale !== 0 && { guidanceRescale }),
        ...(named !== null && { class: named }),
        ...(start.kind !== 'noise' && { start }),
      }
      const { search, hash } = new URL(toLink(given), 'https://pictures.example')
      assert.deepEqual(await fromLink(search, hash), expected)
    }),
  )
})

test('a link is readable', () => {
  const given: Settings = {
    model: 'ada/digits',
    class: null,
    guidance: 1,
    guidanceRescale: 0,
    count: 16,
    seed: 42,
    sampler: 'ddim',
    steps: 50,
    spacing: 'trailing',
    eta: 0,
    order: 2,
    start: { kind: 'between', image: 2, to: { seed: 7, image: 0 } },
  }
  assert.equal(
    toLink(given),
    '?model=ada/digits&seed=42&count=16&sampler=ddim&steps=50&spacing=trailing&eta=0&guidance=1&from=2&to=7.0',
  )
})

test('an impossible link is refused with what it says and what is possible', async () => {
  const cases = [
    ['?seed=abc', /seed=abc; expected a whole number from 0 to 9007199254740991/],
    ['?seed=', /seed=; expected a whole number/],
    ['?count=65', /count=65; expected a whole number from 1 to 64/],
    ['?count=1.5', /count=1\.5; expected a whole number/],
    ['?sampler=pndm', /sampler=pndm; expected ddpm, ddim, dpmpp/],
    ['?spacing=odd', /spacing=odd; expected leading, trailing/],
    ['?guidance=-1', /guidance=-1; expected a number from 0/],
    ['?eta=2', /eta=2; expected a number from 0 to 1/],
    ['?near=1&distance=7', /distance=7; expected a number from 0 to 1/],
    ['?from=1&to=2', /to=2; expected a seed and a picture/],
  ] as const
  for (const [link, message] of cases) {
    await assert.rejects(
      fromLink(link),
      (error) => error instanceof UserError && message.test(error.message),
      link,
    )
  }
})

test('what fresh noise would hide is drawn by DDIM without any', () => {
  for (const sampler of samplers) {
    const calm = deterministic({ sampler, eta: 0.5 } as const)
    assert.equal(isStochastic(calm), false, sampler)
    if (!isStochastic({ sampler, eta: 0.5 })) assert.equal(calm.sampler, sampler)
  }
})
