import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { exactLoop } from '../../../test/support/float64-loop.ts'
import { applyGuidance } from '../diffusion/guidance.ts'
import { createSchedule, paperSchedule } from '../diffusion/schedule.ts'
import type { Plan, Row } from '../planning/plan.ts'
import { defaultSampling, planSampler, type SamplerOptions, samplers } from '../planning/samplers.ts'
import { domains, fillNormals } from '../random/random.ts'
import { type LoopState, runPlan, Suspension } from './loop.ts'

const schedule = createSchedule(paperSchedule)
const plain: Row = {
  t: 0,
  alphaBar: 0.5,
  alphaBarNext: 0.5,
  p: 1,
  q: 0,
  clamp: null,
  a: 0.5,
  b: 0.25,
  c: [],
  d: 0,
  e: 0.1,
}
const planOf = (...rows: Row[]): Plan => ({ name: 'test', start: 1, rows })
const request = { seed: 0, indices: [0], size: 1 }

function assertNear(actual: number | undefined, expected: number, tolerance = 1e-5): void {
  assert.ok(Math.abs(actual! - expected) < tolerance, `${actual}, expected ${expected}`)
}

test('c contains the weights of earlier x0 in multistep rows', async () => {
  const inputs: number[] = []
  const denoise = (x: Float32Array) => {
    inputs.push(x[0]!)
    return Float32Array.of(1)
  }
  const [last] = await runPlan(planOf(plain, { ...plain, c: [2] }, { ...plain, c: [2, 3] }), denoise, request)
  const [x0, x1, x2] = inputs as [number, number, number]
  assertNear(x1, 0.75 * x0 + 0.1)
  assertNear(x2, 0.75 * x1 + 2 * x0 + 0.1)
  assertNear(last, 0.75 * x2 + 2 * x1 + 3 * x0 + 0.1)
})

test('for every sampler a run that is suspended before every row gives the same result', async () => {
  const denoise = (x: Float32Array, t: number) => x.map((value) => Math.tanh(value) * (0.3 + t / 2000))
  for (const sampler of samplers) {
    const options: SamplerOptions = { ...defaultSampling, sampler, steps: 9, predictionType: 'v', clamp: 1 }
    const plan = planSampler(schedule, options)
    const run = { seed: 3, indices: [0, 5], size: 4 }
    const whole = await runPlan(plan, denoise, run)
    let resume: LoopState | undefined
    for (let part = 0; ; part++) {
      let rows = 0
      const request = { ...run, ...(resume && { resume }), isSuspended: () => rows++ === 1 }
      try {
        assert.deepEqual(await runPlan(plan, denoise, request), whole, sampler)
        assert.equal(part, plan.rows.length - 1)
        break
      } catch (error) {
        if (!(error instanceof Suspension)) throw error
        // Messages to and from a worker copy the state.
        resume = structuredClone(error.state!)
      }
    }
  }
})

test('for every sampler the loop agrees with a float64 reference', async () => {
  const network = (x: number, t: number) => Math.tanh(x) * (0.3 + t / 2000)
  for (const sampler of samplers) {
    for (const order of [2, 3] as const) {
      if (sampler === 'sde-dpmpp' && order === 3) continue
      const options: SamplerOptions = {
        ...defaultSampling,
        sampler,
        order,
        steps: 9,
        predictionType: 'v',
        clamp: 0.8,
      }
      const { rows } = planSampler(schedule, options)
      // Noise is tested separately.
      const plan = planOf(...rows.map((row) => ({ ...row, d: 0 })))
      const from = Float32Array.of(-1.4, -0.2, 0.5, 2.2)
      const x = await runPlan(plan, (state, t) => state.map((value) => network(value, t)), {
        ...request,
        size: 4,
        from,
      })
      for (const [i, start] of from.entries()) assertNear(x[i], exactLoop(plan, network, start).at(-1)!)
    }
  }
})

suite('noise', () => {
  const noiseOf = (step: number) => {
    const out = new Float32Array(1)
    fillNormals(7, { domain: domains.sampling, image: 3, step }, out)
    return out[0]!
  }
  const noiseRequest = { seed: 7, indices: [3], size: 1 }
  const zero = { ...plain, a: 0, b: 0, e: 0 }

  test('is different in each row and is scaled by d', async () => {
    const [x] = await runPlan(planOf(plain, { ...zero, d: 2 }), () => Float32Array.of(0), noiseRequest)
    assertNear(x, 2 * noiseOf(2))
  })

  test('is scaled by the predicted variance, interpolated between two log variances', async () => {
    const d = [Math.log(0.01), Math.log(0.25)] as const
    for (const [v, variance] of [
      [-1, 0.01],
      [1, 0.25],
      [0, 0.05],
    ] as const) {
      const [x] = await runPlan(planOf({ ...zero, d }), () => Float32Array.of(9, v), noiseRequest)
      assertNear(x, Math.sqrt(variance) * noiseOf(1))
    }
    await assert.rejects(
      runPlan(planOf({ ...zero, d }), () => Float32Array.of(9), noiseRequest),
      /expected 2 values per image, half of them predicted variances, got 1/,
    )
  })

  test('predicted variances are skipped by rows with a fixed variance', async () => {
    const two = { ...noiseRequest, indices: [3, 4] }
    const [first, second] = await runPlan(planOf({ ...zero, e: 1 }), () => Float32Array.of(5, 99, 6, 99), two)
    assert.deepEqual([first, second], [5, 6])
  })

  test('a row without a timestep adds noise without a forward pass', async () => {
    const denoise = () => assert.fail('unexpected forward pass')
    const [x] = await runPlan(planOf({ ...zero, t: null, a: 0.6, d: 0.8 }), denoise, noiseRequest)
    assertNear(x, 0.6 * noiseOf(0) + 0.8 * noiseOf(1))
  })
})

test('the dynamic threshold is the quantile of each image', async () => {
  const row = { ...plain, a: 0, b: 1, e: 0, clamp: { ratio: 0.5, max: 3 } }
  // Sorted |x0| of the first image: 0.5 1 2 4, median 1.5. Second image: all below 1. Third image: median 10.
  const from = Float32Array.of(0.5, -1, 2, -4, 0.1, 0.2, -0.3, 0.4, 10, -10, 10, 10)
  const x = await runPlan(planOf(row), () => new Float32Array(12), {
    seed: 0,
    indices: [0, 1, 2],
    size: 4,
    from,
  })
  const expected = [0.5 / 1.5, -1 / 1.5, 1, -1, 0.1, 0.2, -0.3, 0.4, 1, -1, 1, 1]
  expected.forEach((value, i) => {
    assertNear(x[i], value)
  })
})

suite('guidance', () => {
  const batch = { count: 2, size: 2 }
  test('extrapolates from the unconditional to the conditional output and does not change variances', () => {
    const out = applyGuidance(
      Float32Array.of(2, 4, 7, 7, 1, 1, 8, 8),
      Float32Array.of(1, 0, 5, 5, 1, 2, 5, 5),
      {
        ...batch,
        scale: 3,
      },
    )
    assert.deepEqual([...out], [4, 12, 7, 7, 1, -1, 8, 8])
  })

  test('rescale 1 restores the standard deviation of the conditional output, and 0.5 restores half of the difference', () => {
    const deviation = (values: Float32Array) => {
      const mean = values.reduce((sum, value) => sum + value) / values.length
      return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
    }
    const conditional = Float32Array.of(0.5, -1, 2, 0.25)
    const unconditional = Float32Array.of(0, 0.5, 1, -1)
    const guided = (rescale: number) =>
      applyGuidance(conditional.slice(), unconditional, { count: 1, size: 4, scale: 5, rescale })
    assertNear(deviation(guided(1)), deviation(conditional))
    assertNear(deviation(guided(0.5)), (deviation(conditional) + deviation(guided(0))) / 2)
  })
})

test('afterRow may change x in place', async () => {
  const rows: number[] = []
  const afterRow = (x: Float32Array, _: Row, index: number) => {
    rows.push(index)
    x.fill(index)
  }
  const x = await runPlan(planOf(plain, plain), () => Float32Array.of(0), { ...request, afterRow })
  assert.deepEqual([[...x], rows], [[1], [0, 1]])
})

test('a step allocates no buffers', async () => {
  const rows = planSampler(schedule, {
    ...defaultSampling,
    sampler: 'unipc',
    order: 3,
    steps: 40,
    predictionType: 'epsilon',
    clamp: { ratio: 0.995, max: 2 },
  }).rows.map((row) => ({ ...row, d: 0.1 }))
  const output = new Float32Array(4 * 512)
  const memory: number[] = []
  await runPlan(planOf(...rows), () => output, {
    seed: 0,
    indices: [0, 1, 2, 3],
    size: 512,
    onStep: () => void memory.push(process.memoryUsage().arrayBuffers),
  })
  // Garbage collection may only decrease the number. A new buffer would be larger than this limit.
  for (const [i, now] of memory.slice(1).entries())
    assert.ok(now - memory[i]! < 512, `${now - memory[i]!} bytes`)
})
