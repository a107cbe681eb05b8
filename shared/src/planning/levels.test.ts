import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createSchedule, paperSchedule } from '../diffusion/schedule.ts'
import { computeLevels, lambdaOf, type SpacingOptions, sigmaOf, type TimestepSpacing } from './levels.ts'

const schedule = createSchedule(paperSchedule)
const levels = (spacing: TimestepSpacing, options: Partial<SpacingOptions> = {}) =>
  computeLevels(schedule, { spacing, steps: 10, ...options })
/** The timesteps at which the model is evaluated. */
const visited = (spacing: TimestepSpacing, options: Partial<SpacingOptions> = {}) =>
  levels(spacing, options)
    .slice(0, -1)
    .map(({ t }) => t)

suite('spacings for T = 1000 and 10 steps', () => {
  test('have the published timesteps', () => {
    assert.deepEqual(visited('leading'), [900, 800, 700, 600, 500, 400, 300, 200, 100, 0])
    assert.deepEqual(visited('trailing'), [999, 899, 799, 699, 599, 499, 399, 299, 199, 99])
    assert.deepEqual(visited('linspace'), [999, 888, 777, 666, 555, 444, 333, 222, 111, 0])
    // int(linspace(0, √800, 10)²)
    assert.deepEqual(visited('quadratic'), [800, 632, 483, 355, 246, 158, 88, 39, 9, 0])
    assert.deepEqual(visited('leading', { offset: 1, steps: 5 }), [801, 601, 401, 201, 1])
  })

  test('open spacings compute one more level and drop the last, as diffusers does for multistep solvers', () => {
    const open = { open: true }
    // np.linspace(0, 999, 11).round()[::-1][:-1], and arange(11)·(1000 // 11)
    assert.deepEqual(visited('linspace', open), [999, 899, 799, 699, 599, 500, 400, 300, 200, 100])
    assert.deepEqual(visited('leading', open), [900, 810, 720, 630, 540, 450, 360, 270, 180, 90])
    assert.deepEqual(visited('trailing', open), visited('trailing'))
  })

  test('halves are rounded to even, as in NumPy', () => {
    // np.arange(1000, 0, -62.5).round() - 1
    assert.deepEqual(
      visited('trailing', { steps: 16 }),
      [999, 937, 874, 811, 749, 687, 624, 561, 499, 437, 374, 311, 249, 187, 124, 61],
    )
  })

  test('T steps use all timesteps with leading, trailing and linspace', () => {
    for (const spacing of ['leading', 'trailing', 'linspace'] as const) {
      assert.deepEqual(
        visited(spacing, { steps: 1000 }),
        Array.from({ length: 1000 }, (_, i) => 999 - i),
      )
    }
    assert.equal(
      new Set(visited('quadratic', { steps: 100 })).size,
      visited('quadratic', { steps: 100 }).length,
    )
  })

  test('between whole timesteps σ is interpolated linearly', () => {
    const between = computeLevels(schedule, { spacing: 'linspace', steps: 4, whole: false })
    assert.deepEqual(
      between.map(({ t }) => t),
      [999, 666, 333, 0, -1],
    )
    const [, second] = computeLevels(schedule, { spacing: 'linspace', steps: 3, whole: false })
    const [low, high] = [499, 500].map((t) => sigmaOf(schedule.alphasCumprod[t]!)) as [number, number]
    assert.equal(second!.t, 499.5)
    assert.ok(Math.abs(sigmaOf(second!.alphaBar) - (low + high) / 2) < 1e-12)
  })
})

test('karras is evenly spaced in σ^(1/7) and lambda is evenly spaced in λ, over the whole schedule', () => {
  for (const [spacing, scale] of [
    ['karras', (alphaBar: number) => sigmaOf(alphaBar) ** (1 / 7)],
    ['lambda', lambdaOf],
  ] as const) {
    const positions = levels(spacing, { steps: 8 })
      .slice(0, -1)
      .map(({ alphaBar }) => scale(alphaBar))
    const widths = positions.slice(1).map((position, i) => position - positions[i]!)
    for (const width of widths) assert.ok(Math.abs(width / widths[0]! - 1) < 1e-9, `${spacing}: ${widths}`)
    const all = levels(spacing, { steps: 8, whole: false })
    assert.ok(Math.abs(all[0]!.alphaBar / schedule.alphasCumprod[999]! - 1) < 1e-12)
    assert.ok(Math.abs(all[7]!.alphaBar / schedule.alphasCumprod[0]! - 1) < 1e-12)
    assert.deepEqual([all[0]!.t, all[7]!.t], [999, 0])
    // The model is evaluated at the whole timestep whose log σ is nearest to the level's.
    for (const [i, { t }] of levels(spacing, { steps: 8 }).slice(0, -1).entries()) {
      assert.equal(t, Math.round(all[i]!.t))
      const [below, above] = [Math.floor(all[i]!.t), Math.ceil(all[i]!.t)].map(
        (t) => schedule.alphasCumprod[t]!,
      )
      assert.ok(all[i]!.alphaBar <= below! * (1 + 1e-12) && all[i]!.alphaBar >= above! * (1 - 1e-12))
    }
  }
})

test('the end is the clean image, or the level of timestep 0', () => {
  assert.deepEqual(levels('trailing').at(-1), { t: -1, alphaBar: 1 })
  assert.deepEqual(levels('trailing', { end: 'first' }).at(-1), { t: 0, alphaBar: 0.9999 })
})

test('levels noisier than lambdaMin are skipped', () => {
  const cosine = createSchedule({ ...paperSchedule, betaSchedule: 'cosine' })
  const all = computeLevels(cosine, { spacing: 'trailing', steps: 10, lambdaMin: -5.1 })
  assert.ok(lambdaOf(all[0]!.alphaBar) >= -5.1)
  assert.ok(lambdaOf(cosine.alphasCumprod[all[0]!.t + 1]!) < -5.1)
})

test('steps and spacings that do not fit into the schedule are rejected', () => {
  assert.throws(() => levels('leading', { steps: 0 }), /Invalid steps: .* got 0/)
  assert.throws(
    () => levels('leading', { steps: 1001 }),
    /Invalid steps: expected a whole number from 1 to 1000, .* got 1001/,
  )
  assert.throws(
    () => levels('leading', { steps: 1000, offset: 1 }),
    /spacing leading and offset 1 do not fit/,
  )
  const zeroSnr = createSchedule({ ...paperSchedule, zeroTerminalSnr: true })
  assert.throws(
    () => computeLevels(zeroSnr, { spacing: 'karras', steps: 5 }),
    /karras needs a finite σ.* Use trailing/,
  )
})
