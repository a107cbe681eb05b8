import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { exactLoop } from '../../../test/support/float64-loop.ts'
import { guide } from '../diffusion/guidance.ts'
import { createSchedule, paperSchedule } from '../diffusion/schedule.ts'
import type { Plan, Row } from '../planning/plan.ts'
import { defaultSampling, planSampler, type SamplerOptions, samplers } from '../planning/samplers.ts'
import { domains, normals } from '../random/random.ts'
import { runPlan } from './loop.ts'

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
const planOf = (...rows: Row[]): Plan => ({ name: 'made up', start: 1, rows })
const one = { seed: 0, indices: [0], size: 1 }

function near(found: number | undefined, wanted: number, tolerance = 1e-5): void {
  assert.ok(Math.abs(found! - wanted) < tolerance, `${found}, not ${wanted}`)
}

test('earlier x0 enter by c: a linear multistep row is carried out as written', async () => {
  const seen: number[] = []
  const denoise = (x: Float32Array) => {
    seen.push(x[0]!)
    return Float32Array.of(1)
  }
  const [last] = await runPlan(planOf(plain, { ...plain, c: [2] }, { ...plain, c: [2, 3] }), denoise, one)
  const [x0, x1, x2] = seen as [number, number, number]
  near(x1, 0.75 * x0 + 0.1)
  near(x2, 0.75 * x1 + 2 * x0 + 0.1)
  near(last, 0.75 * x2 + 2 * x1 + 3 * x0 + 0.1)
})

test('every sampler’s rows, run by the loop, give what they give in float64', async () => {
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
      // Noise has a test of its own.
      const plan = planOf(...rows.map((row) => ({ ...row, d: 0 })))
      const from = Float32Array.of(-1.4, -0.2, 0.5, 2.2)
      const x = await runPlan(plan, (state, t) => state.map((value) => network(value, t)), {
        ...one,
        size: 4,
        from,
      })
      for (const [i, start] of from.entries()) near(x[i], exactLoop(plan, network, start).at(-1)!)
    }
  }
})

suite('noise', () => {
  const draw = (step: number) => {
    const out = new Float32Array(1)
    normals(7, { domain: domains.sampling, image: 3, step }, out)
    return out[0]!
  }
  const request = { seed: 7, indices: [3], size: 1 }
  const zero = { ...plain, a: 0, b: 0, e: 0 }

  test('is a row’s own, times d', async () => {
    const [x] = await runPlan(planOf(plain, { ...zero, d: 2 }), () => Float32Array.of(0), request)
    near(x, 2 * draw(2))
  })

  test('is as wide as the network says between two log variances: the second half of its channels', async () => {
    const d = [Math.log(0.01), Math.log(0.25)] as const
    for (const [v, variance] of [
      [-1, 0.01],
      [1, 0.25],
      [0, 0.05],
    ] as const) {
      const [x] = await runPlan(planOf({ ...zero, d }), () => Float32Array.of(9, v), request)
      near(x, Math.sqrt(variance) * draw(1))
    }
    await assert.rejects(
      runPlan(planOf({ ...zero, d }), () => Float32Array.of(9), request),
      /expected 1 each and as many of its variance/,
    )
  })

  test('a network that says a variance serves rows that have theirs fixed', async () => {
    const two = { ...request, indices: [3, 4] }
    const [first, second] = await runPlan(planOf({ ...zero, e: 1 }), () => Float32Array.of(5, 99, 6, 99), two)
    assert.deepEqual([first, second], [5, 6])
  })

  test('a row without a timestep adds noise and asks nobody', async () => {
    const asked = () => assert.fail('asked')
    const [x] = await runPlan(planOf({ ...zero, t: null, a: 0.6, d: 0.8 }), asked, request)
    near(x, 0.6 * draw(0) + 0.8 * draw(1))
  })
})

test('a dynamic threshold is each picture’s own quantile, between order statistics', async () => {
  const keep = { ...plain, a: 0, b: 1, e: 0, clamp: { ratio: 0.5, max: 3 } }
  // |x0| of the first sorted: 0.5 1 2 4, median 1.5; of the second all below 1; of the third median 10.
  const from = Float32Array.of(0.5, -1, 2, -4, 0.1, 0.2, -0.3, 0.4, 10, -10, 10, 10)
  const x = await runPlan(planOf(keep), () => new Float32Array(12), {
    seed: 0,
    indices: [0, 1, 2],
    size: 4,
    from,
  })
  const wanted = [0.5 / 1.5, -1 / 1.5, 1, -1, 0.1, 0.2, -0.3, 0.4, 1, -1, 1, 1]
  wanted.forEach((value, i) => {
    near(x[i], value)
  })
})

suite('guidance', () => {
  const given = { count: 2, size: 2 }
  test('goes from the unconditional output through the conditional one, and leaves a variance alone', () => {
    const out = guide(Float32Array.of(2, 4, 7, 7, 1, 1, 8, 8), Float32Array.of(1, 0, 5, 5, 1, 2, 5, 5), {
      ...given,
      scale: 3,
    })
    assert.deepEqual([...out], [4, 12, 7, 7, 1, -1, 8, 8])
  })

  test('rescaled fully, each picture has the spread of its conditional output; by half, half of the way', () => {
    const spread = (values: Float32Array) => {
      const mean = values.reduce((sum, value) => sum + value) / values.length
      return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
    }
    const conditional = Float32Array.of(0.5, -1, 2, 0.25)
    const unconditional = Float32Array.of(0, 0.5, 1, -1)
    const outcome = (rescale: number) =>
      guide(conditional.slice(), unconditional, { count: 1, size: 4, scale: 5, rescale })
    near(spread(outcome(1)), spread(conditional))
    near(spread(outcome(0.5)), (spread(conditional) + spread(outcome(0))) / 2)
  })
})

test('what comes after a row may change x in place', async () => {
  const rows: number[] = []
  const afterRow = (x: Float32Array, _: Row, index: number) => {
    rows.push(index)
    x.fill(index)
  }
  const x = await runPlan(planOf(plain, plain), () => Float32Array.of(0), { ...one, afterRow })
  assert.deepEqual([[...x], rows], [[1], [0, 1]])
})

test('a step takes no new memory for pictures', async () => {
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
  // Collecting garbage may free some; arrays of this size are never so small.
  for (const [i, now] of memory.slice(1).entries())
    assert.ok(now - memory[i]! < 512, `${now - memory[i]!} bytes`)
})
