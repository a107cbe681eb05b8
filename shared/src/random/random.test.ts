import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exactLog, inverseNormal } from './normal.ts'
import { domains, fillNormals, randomPermutation, threefry, uniforms } from './random.ts'

const hex = (words: Uint32Array) => [...words].map((word) => word.toString(16).padStart(8, '0')).join(' ')

test('Threefry-4×32-20 reproduces the known-answer vectors of Random123 (kat_vectors)', () => {
  const block = (counter: number[], key: number[]) => {
    const out = new Uint32Array(4)
    threefry(counter, key, out)
    return hex(out)
  }
  const ones = [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff]
  assert.equal(block([0, 0, 0, 0], [0, 0, 0, 0]), '9c6ca96a e17eae66 fc10ecd4 5256a7d8')
  assert.equal(block(ones, ones), '2a881696 57012287 f6c7446e a16a6732')
  assert.equal(
    block([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0, 0x082efa98, 0xec4e6c89]),
    '59cd1dbb b8879579 86b5d00c ac8b6d84',
  )
})

test('quantiles of the normal distribution match published tables', () => {
  // Abramowitz & Stegun, table 26.5, and Wichura's check values.
  const known = [
    [0.975, 1.959963984540054],
    [0.25, -0.6744897501960817],
    [0.001, -3.090232306167814],
    [1e-20, -9.262340089798408],
  ] as const
  for (const [p, quantile] of known) {
    assert.ok(
      Math.abs(inverseNormal(p) - quantile) <= 4e-15 * Math.abs(quantile),
      `${p}: ${inverseNormal(p)}`,
    )
  }
})

test('the portable logarithm is within two ulps of Math.log', () => {
  for (const x of [1e-300, 1e-20, 0.1, 0.5, 0.9999999, 1, 1.0000001, Math.SQRT2, 2, 3.3, 1e10, 1e300]) {
    assert.ok(
      Math.abs(exactLog(x) - Math.log(x)) <= 5e-16 * Math.max(Math.abs(Math.log(x)), 1e-7),
      `log ${x}`,
    )
  }
})

test('noise is normal: moments, tails and independence between images', () => {
  const count = 200_000
  const a = new Float32Array(count)
  const b = new Float32Array(count)
  fillNormals(7, { domain: domains.sampling, image: 0, step: 3 }, a)
  fillNormals(7, { domain: domains.sampling, image: 1, step: 3 }, b)
  const mean = (f: (value: number, i: number) => number) =>
    a.reduce((sum, value, i) => sum + f(value, i), 0) / count
  // The tolerance is four standard errors.
  const assertNear = (actual: number, expected: number, variance: number) =>
    assert.ok(
      Math.abs(actual - expected) < 4 * Math.sqrt(variance / count),
      `${actual}, expected ${expected}`,
    )
  assertNear(
    mean((x) => x),
    0,
    1,
  )
  assertNear(
    mean((x) => x ** 2),
    1,
    2,
  )
  assertNear(
    mean((x) => x ** 4),
    3,
    96,
  )
  assertNear(
    mean((x, i) => x * b[i]!),
    0,
    1,
  )
  assertNear(
    mean((x) => Number(Math.abs(x) > 3)),
    0.0026997960632601866,
    0.0027,
  )
})

test('the noise of an image does not depend on its position in a batch or on the number of values', () => {
  const stream = { domain: domains.sampling, image: 5, step: 2 }
  const alone = new Float32Array(10)
  fillNormals(1, stream, alone)
  const batch = new Float32Array(30)
  fillNormals(1, stream, batch, 13, 7)
  assert.deepEqual([...batch.subarray(13, 20)], [...alone.subarray(0, 7)])
  assert.equal(batch[12], 0)
  assert.equal(batch[20], 0)
})

test('different seeds (also above 32 bits), domains, steps and images give different numbers', () => {
  const base = { domain: 0, image: 0, step: 0 }
  const streams = [
    uniforms(1, base, 4),
    uniforms(1 + 2 ** 32, base, 4),
    uniforms(1, { ...base, domain: 1 }, 4),
    uniforms(1, { ...base, step: 1 }, 4),
    uniforms(1, { ...base, image: 1 }, 4),
  ].map(String)
  assert.equal(new Set(streams).size, streams.length)
})

test('a permutation contains every index once, and every index is equally likely to be first', () => {
  const counts = new Uint32Array(5)
  for (let step = 0; step < 5000; step++) {
    const order = randomPermutation(3, { domain: domains.shuffle, image: 0, step }, 5)
    assert.deepEqual([...order].sort(), [0, 1, 2, 3, 4])
    counts[order[0]!]! += 1
  }
  for (const count of counts) assert.ok(Math.abs(count - 1000) < 4 * Math.sqrt(800), `${counts}`)
})
