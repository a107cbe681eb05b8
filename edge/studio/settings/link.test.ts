import assert from 'node:assert/strict'
import { test } from 'node:test'
import { samplers, timestepSpacings, UserError } from '@ddpm/shared'
import { fc } from '../../../test/support/properties.ts'
import { fromLink, toLink } from './link.ts'
import { hasOrder, type Settings, type Start } from './settings.ts'

const share = fc.double({ min: 0, max: 1, noNaN: true }).map((value) => value + 0)
const index = fc.integer({ min: 0, max: 2 ** 32 - 1 })

/** Without images, which need a canvas: the browser test covers them. */
const start: fc.Arbitrary<Start> = fc.oneof(
  fc.constant({ kind: 'noise' } as const),
  fc.record(
    { kind: fc.constant('variation' as const), image: index, distance: share, secondSeed: fc.maxSafeNat() },
    { noNullPrototype: true },
  ),
  fc.record(
    {
      kind: fc.constant('interpolation' as const),
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
    guidanceRescale: share,
    count: fc.integer({ min: 1, max: 64 }),
    seed: fc.maxSafeNat(),
    sampler: fc.constantFrom(...samplers),
    steps: fc.integer({ min: 1, max: 1000 }),
    spacing: fc.constantFrom(...timestepSpacings),
    eta: fc.oneof(share, fc.constant('hat' as const)),
    order: fc.constantFrom(1, 2, 3),
    start,
  },
  { noNullPrototype: true },
)

test('a link restores every setting that the sampler uses', async () => {
  await fc.assert(
    fc.asyncProperty(settings, async (original) => {
      const { eta, order, guidanceRescale, class: className, start, ...rest } = original
      const expected = {
        ...rest,
        ...(original.sampler === 'ddim' && { eta }),
        ...(hasOrder(original.sampler) && { order }),
        ...(guidanceRescale !== 0 && { guidanceRescale }),
        ...(className !== null && { class: className }),
        ...(start.kind !== 'noise' && { start }),
      }
      const { search, hash } = new URL(toLink(original), 'https://images.example')
      assert.deepEqual(await fromLink(search, hash), expected)
    }),
  )
})

test('the parameter names of links stay the same', () => {
  const original: Settings = {
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
    start: { kind: 'interpolation', image: 2, to: { seed: 7, image: 0 } },
  }
  assert.equal(
    toLink(original),
    '?model=ada/digits&seed=42&count=16&sampler=ddim&steps=50&spacing=trailing&eta=0&guidance=1&from=2&to=7.0',
  )
})

test('an invalid link is rejected with the parameter and the expected values', async () => {
  const cases = [
    ['?seed=abc', /^Invalid "seed=abc" in the link: expected an integer from 0 to 9007199254740991\.$/],
    ['?seed=', /"seed=" in the link: expected an integer/],
    ['?count=65', /"count=65" in the link: expected an integer from 1 to 64/],
    ['?count=1.5', /"count=1\.5" in the link: expected an integer/],
    ['?sampler=pndm', /"sampler=pndm" in the link: expected one of ddpm, ddim, dpmpp/],
    ['?spacing=odd', /"spacing=odd" in the link: expected one of leading, trailing/],
    ['?guidance=-1', /"guidance=-1" in the link: expected a number from 0/],
    ['?eta=2', /"eta=2" in the link: expected a number from 0 to 1/],
    ['?near=1&distance=7', /"distance=7" in the link: expected a number from 0 to 1/],
    ['?from=1', /Missing "to" in the link: expected a seed and an image number/],
    ['?from=1&to=2', /"to=2" in the link: expected a seed and an image number/],
  ] as const
  for (const [link, message] of cases) {
    await assert.rejects(
      fromLink(link),
      (error) => error instanceof UserError && message.test(error.message),
      link,
    )
  }
})
