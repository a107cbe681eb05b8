import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { exactLoop } from '../../../test/support/float64-loop.ts'
import { createSchedule, paperSchedule } from '../diffusion/schedule.ts'
import { formatPlan, type Plan, type Row } from './plan.ts'
import { defaultSampling, planSampler, type SamplerOptions, samplers } from './samplers.ts'

const schedule = createSchedule(paperSchedule)
const base: SamplerOptions = {
  ...defaultSampling,
  steps: 10,
  spacing: 'leading',
  predictionType: 'epsilon',
  clamp: 1,
}
const plan = (options: Partial<SamplerOptions>) => planSampler(schedule, { ...base, ...options })

function assertSameRows(actual: readonly Row[], expected: readonly Row[], tolerance = 1e-9): void {
  assert.equal(actual.length, expected.length)
  for (const [i, row] of actual.entries()) {
    for (const key of ['t', 'p', 'q', 'clamp', 'a', 'b', 'd', 'e'] as const) {
      const [left, right] = [row[key], expected[i]![key]] as [number, number]
      assert.ok(
        left === right || Math.abs(left - right) < tolerance,
        `${key} at t = ${row.t}: ${left}, ${right}`,
      )
    }
    for (let k = 0; k < Math.max(row.c.length, expected[i]!.c.length); k++) {
      assert.ok(Math.abs((row.c[k] ?? 0) - (expected[i]!.c[k] ?? 0)) < tolerance, `c${k + 1} at t = ${row.t}`)
    }
  }
}

/** With clamping, the rows agree only if ε is re-derived from the clamped x_0. */
suite('identities between samplers, with clamping', () => {
  for (const predictionType of ['epsilon', 'x0', 'v'] as const) {
    test(`DDIM with η = 1 over all steps equals DDPM fixedSmall: ${predictionType}`, () => {
      const all = { steps: 1000, predictionType }
      assertSameRows(plan({ ...all, eta: 1 }).rows, plan({ ...all, sampler: 'ddpm' }).rows)
    })

    test(`DPM-Solver++ of order 1, UniP-1, Euler and DDIM with η = 0 are equal: ${predictionType}`, () => {
      const same = { spacing: 'trailing', steps: 12, predictionType } as const
      const { rows } = plan({ ...same, eta: 0 })
      const uncorrected = Array.from({ length: 12 }, (_, i) => i)
      for (const other of [
        { sampler: 'dpmpp', order: 1 },
        { sampler: 'unipc', order: 1, uncorrected },
        { sampler: 'euler' },
      ] as const) {
        assertSameRows(plan({ ...same, ...other }).rows, rows)
      }
    })

    test(`SDE-DPM-Solver++ of order 1 equals DDIM with η = 1: ${predictionType}`, () => {
      const same = { spacing: 'trailing', predictionType } as const
      assertSameRows(plan({ ...same, sampler: 'sde-dpmpp', order: 1 }).rows, plan({ ...same, eta: 1 }).rows)
    })
  }

  test('DDIM with σ̂ equals DDPM fixedLarge on the same levels', () => {
    for (const steps of [20, 1000]) {
      const large = plan({ sampler: 'ddpm', varianceType: 'fixedLarge', steps })
      assertSameRows(plan({ eta: 'hat', steps }).rows, large.rows)
    }
  })

  test('DPM-Solver++ of order 2 follows the published formula', () => {
    const { rows } = plan({ sampler: 'dpmpp', spacing: 'lambda', steps: 20 })
    const lambda = (alphaBar: number) => Math.log(Math.sqrt(alphaBar) / Math.sqrt(1 - alphaBar))
    rows.slice(1, -1).forEach((row, i) => {
      const h = lambda(row.alphaBarNext) - lambda(row.alphaBar)
      const r = (lambda(row.alphaBar) - lambda(rows[i]!.alphaBar)) / h
      const gain = -Math.sqrt(row.alphaBarNext) * (Math.exp(-h) - 1)
      assert.ok(Math.abs(row.a - Math.sqrt((1 - row.alphaBarNext) / (1 - row.alphaBar))) < 1e-12)
      assert.ok(Math.abs(row.b - gain * (1 + 1 / (2 * r))) < 1e-12)
      assert.ok(Math.abs(row.c[0]! + gain / (2 * r)) < 1e-12)
    })
    assert.deepEqual([rows[0]!.c, rows.at(-1)!.c], [[], []])
  })
})

/**
 * Runs UniPC as published (algorithms 1 and 2), with separate predictor and corrector. It is the reference for the rows.
 */
function unipcStepByStep(plan: Plan, order: 2 | 3, denoise: (x: number, t: number) => number, start: number) {
  const levels = [...plan.rows.map(({ alphaBar }) => alphaBar), plan.rows.at(-1)!.alphaBarNext]
  const lambda = levels.map((alphaBar) => 0.5 * Math.log(alphaBar / (1 - alphaBar)))
  const [alpha, sigma] = [levels.map(Math.sqrt), levels.map((alphaBar) => Math.sqrt(1 - alphaBar))]
  const m: number[] = []
  let corrected = start
  let predicted = start
  let previousOrder = 0
  for (let i = 0; i < plan.rows.length; i++) {
    const { p, q, t } = plan.rows[i]!
    m[i] = p * predicted + q * denoise(predicted, t!)
    if (i > 0) corrected = step(i - 1, previousOrder, corrected, true)
    else corrected = predicted
    previousOrder = Math.min(order, i + 1, plan.rows.length - i)
    predicted = step(i, previousOrder, corrected, false)
  }
  return predicted

  function step(from: number, p: number, x: number, withNew: boolean): number {
    const h = lambda[from + 1]! - lambda[from]!
    const B = Math.exp(-h) - 1
    const ratios: number[] = []
    const slopes: number[] = []
    for (let k = 1; k < p; k++) {
      ratios.push((lambda[from - k]! - lambda[from]!) / h)
      slopes.push((m[from - k]! - m[from]!) / ratios.at(-1)!)
    }
    if (withNew) {
      ratios.push(1)
      slopes.push(m[from + 1]! - m[from]!)
    }
    // φ(−h) and the right-hand sides, from the definitions.
    const phi1 = (Math.exp(-h) - 1) / -h
    const phi2 = (phi1 - 1) / -h
    const phi3 = (phi2 - 1 / 2) / -h
    const phi4 = (phi3 - 1 / 6) / -h
    const right = [phi2, 2 * phi3, 6 * phi4].map((phi) => (phi * -h) / B)
    let rho: number[]
    if (ratios.length === 0) rho = []
    else if (ratios.length === 1) rho = [0.5]
    else if (ratios.length === 2) {
      const [r1, r2] = ratios as [number, number]
      const second = (right[1]! - r1 * right[0]!) / (r2 - r1)
      rho = [right[0]! - second, second]
    } else {
      // Cramer's rule on the Vandermonde matrix.
      const det = (a: number[], b: number[], c: number[]) =>
        a[0]! * (b[1]! * c[2]! - b[2]! * c[1]!) -
        a[1]! * (b[0]! * c[2]! - b[2]! * c[0]!) +
        a[2]! * (b[0]! * c[1]! - b[1]! * c[0]!)
      const columns = ratios.map((r) => [1, r, r ** 2])
      const whole = det(columns[0]!, columns[1]!, columns[2]!)
      rho = columns.map((_, k) => {
        const replaced = columns.map((column, j) => (j === k ? right : column))
        return det(replaced[0]!, replaced[1]!, replaced[2]!) / whole
      })
    }
    const residual = rho.reduce((total, weight, k) => total + weight * slopes[k]!, 0)
    return (
      (sigma[from + 1]! / sigma[from]!) * x -
      alpha[from + 1]! * (Math.exp(-h) - 1) * m[from]! -
      alpha[from + 1]! * B * residual
    )
  }
}

for (const order of [2, 3] as const) {
  test(`UniPC of order ${order}: the rows give the same result as separate predictor and corrector steps`, () => {
    const unipc = plan({ sampler: 'unipc', order, spacing: 'trailing', clamp: null, end: 'first' })
    const denoise = (x: number, t: number) => Math.sin(x) * (t / 1000) + 0.2 * x
    for (const start of [-1.3, 0.4, 2]) {
      const [actual, expected] = [
        exactLoop(unipc, denoise, start).at(-1)!,
        unipcStepByStep(unipc, order, denoise, start),
      ]
      assert.ok(Math.abs(actual - expected) < 1e-9, `${actual}, step by step ${expected}`)
    }
  })
}

suite('raw and re-derived ε', () => {
  for (const predictionType of ['epsilon', 'x0', 'v'] as const) {
    test(`are equal without clamping and differ with it: ${predictionType}`, () => {
      const stepWith = (epsilon: 'raw' | 'rederived', clamp: number | null, output: number) =>
        exactLoop({ rows: [plan({ epsilon, predictionType, clamp }).rows[4]!] }, () => output, 0.4)[0]!
      assert.ok(Math.abs(stepWith('raw', null, -0.3) - stepWith('rederived', null, -0.3)) < 1e-9)
      // x0 = 3 before clamping to 1.
      const { p, q } = plan({ predictionType }).rows[4]!
      const output = (3 - p * 0.4) / q
      assert.ok(Math.abs(stepWith('raw', 1, output) - stepWith('rederived', 1, output)) > 0.1)
    })
  }
})

suite('variances of DDPM', () => {
  test('are β for fixedLarge, β̃ for fixedSmall and the logarithms of both for learnedRange', () => {
    const [large, small, range] = (['fixedLarge', 'fixedSmall', 'learnedRange'] as const).map(
      (varianceType) => plan({ sampler: 'ddpm', steps: 1000, varianceType }).rows,
    ) as [Row[], Row[], Row[]]
    for (const i of [0, 500, 998]) {
      const t = 999 - i
      assert.ok(Math.abs((large[i]!.d as number) ** 2 - schedule.betas[t]!) < 1e-12)
      assert.ok(Math.abs((small[i]!.d as number) ** 2 - schedule.posteriorVariance[t]!) < 1e-12)
      const [low, high] = range[i]!.d as [number, number]
      assert.ok(Math.abs(low - Math.log(schedule.posteriorVariance[t]!)) < 1e-9)
      assert.ok(Math.abs(high - Math.log(schedule.betas[t]!)) < 1e-9)
    }
    for (const rows of [large, small, range]) assert.equal(rows.at(-1)!.d, 0)
  })
})

suite('zero terminal SNR', () => {
  const zeroSnr = createSchedule({ ...paperSchedule, zeroTerminalSnr: true })
  const planOn = (options: Partial<SamplerOptions>) =>
    planSampler(zeroSnr, { ...base, spacing: 'trailing', ...options })

  test('for v and x0 every sampler has finite rows, also at pure noise', () => {
    for (const sampler of samplers) {
      for (const predictionType of ['v', 'x0'] as const) {
        for (const { a, b, c, d, e, p, q } of planOn({ sampler, predictionType }).rows) {
          for (const value of [a, b, ...c, d as number, e, p, q]) assert.ok(Number.isFinite(value), sampler)
        }
      }
    }
  })

  test('ε-prediction is rejected at pure noise', () => {
    assert.throws(
      () => planOn({ sampler: 'ddim' }),
      /Invalid prediction type epsilon: at timestep 999 .*zero terminal SNR/,
    )
  })
})

test('a step between equal levels does not change x', () => {
  // The last level of karras and the end have the same noise level, that of timestep 0.
  const equalLevels = { spacing: 'karras', end: 'first', lowerOrderFinal: false, clamp: null } as const
  for (const sampler of ['dpmpp', 'sde-dpmpp', 'unipc'] as const) {
    for (const order of [1, 2, 3] as const) {
      if (sampler === 'sde-dpmpp' && order === 3) continue
      const { a, b, c, d } = plan({ ...equalLevels, sampler, order }).rows.at(-1)!
      // UniPC still corrects the step before.
      const rest = sampler === 'unipc' ? 0 : b + Math.abs(c.reduce((sum, weight) => sum + weight, 0))
      assert.deepEqual([a, rest, d], [1, 0, 0], `${sampler} of order ${order}`)
      for (const weight of [b, ...c]) assert.ok(Number.isFinite(weight))
    }
  }
})

test('Heun evaluates the model twice per interval, and once in the interval that ends at the clean image', () => {
  const { rows } = plan({ sampler: 'heun' })
  assert.equal(rows.length, 19)
  assert.deepEqual(
    rows.slice(0, 5).map(({ t }) => t),
    [900, 800, 800, 700, 700],
  )
})

test('options out of range are rejected', () => {
  assert.throws(() => plan({ eta: 2 }), /Invalid eta: .* got 2/)
  assert.throws(
    () => plan({ sampler: 'sde-dpmpp', order: 3 }),
    /Invalid order: .* from 1 to 2 for sde-dpmpp, got 3/,
  )
  assert.throws(() => plan({ order: 0 as 1 }), /Invalid order: .* got 0/)
})

test('a plan is formatted with one line per row', () => {
  const lines = formatPlan(plan({ sampler: 'ddpm' })).split('\n')
  assert.equal(lines.length, 12)
  assert.match(lines[0]!, /^ddpm, 10 network evaluations/)
  assert.match(
    lines[2]!,
    /^900 +0\.00027024 +60\.83052327 +-60\.82230315 +1 +0\.42287200 +0\.03187517 +0\.90538394 +0\.00000000$/,
  )
  assert.match(formatPlan(plan({ sampler: 'dpmpp', order: 3 })).split('\n')[1]!, /b +c1 +c2 +d/)
})
