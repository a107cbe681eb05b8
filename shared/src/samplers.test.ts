import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { generate, type ModelFacts } from './generate.ts'
import { readScheduler, writeScheduler } from './manifest.ts'
import { formatPlan, type Plan, planSampler, type SamplerOptions, timestepsOf } from './samplers.ts'
import { runPlan } from './sampling.ts'
import { createSchedule, paperSchedule } from './schedule.ts'

const schedule = createSchedule(paperSchedule)
const base: SamplerOptions = {
  sampler: 'ddim',
  steps: 10,
  spacing: 'leading',
  predictionType: 'epsilon',
  clamp: 1,
  varianceType: 'fixedSmall',
  eta: 0,
  epsilon: 'rederived',
}
const plan = (options: Partial<SamplerOptions>) => planSampler(schedule, { ...base, ...options })

test('timesteps of each spacing, as published for T = 1000 and 10 steps', () => {
  const of = (spacing: SamplerOptions['spacing'], steps = 10) => timestepsOf(1000, steps, spacing)
  assert.deepEqual(of('leading'), [900, 800, 700, 600, 500, 400, 300, 200, 100, 0])
  assert.deepEqual(of('trailing'), [999, 899, 799, 699, 599, 499, 399, 299, 199, 99])
  assert.deepEqual(of('linspace'), [999, 888, 777, 666, 555, 444, 333, 222, 111, 0])
  // int(linspace(0, √800, 10)²)
  assert.deepEqual(of('quadratic'), [800, 632, 483, 355, 246, 158, 88, 39, 9, 0])
  for (const spacing of ['leading', 'trailing', 'linspace'] as const) {
    assert.deepEqual(
      of(spacing, 1000),
      Array.from({ length: 1000 }, (_, i) => 999 - i),
    )
  }
  assert.equal(new Set(of('quadratic', 100)).size, of('quadratic', 100).length)
  assert.throws(() => of('leading', 0), /Found 0 steps/)
  assert.throws(() => of('leading', 1001), /Found 1001 steps/)
})

/** What diffusers' scheduler tests feed their schedulers: arange over (3, 8, 8, 4), scaled, batch last moved first. */
function deterministicSample(): Float32Array {
  const [count, size] = [4, 3 * 8 * 8]
  return Float32Array.from(
    { length: count * size },
    (_, i) => ((i % size) * count + Math.floor(i / size)) / (count * size),
  )
}

/** Runs a plan from a given x instead of noise. */
async function runFrom(
  plan: Plan,
  start: Float32Array,
  model: (x: number, t: number) => number,
): Promise<Float32Array> {
  let x = start
  const denoise = (from: Float32Array, t: number) => {
    if (x === start && from !== start) from.set(start)
    x = from
    return from.map((value) => model(value, t))
  }
  return runPlan(plan, denoise, { seed: 0, pictures: [0], size: start.length })
}

test('DDIM’s loop over a fixed model gives the sum and mean of diffusers’ own test', async () => {
  const options = { epsilon: 'raw', clamp: null } as const
  const x = await runFrom(plan(options), deterministicSample(), (value, t) => (value * t) / (t + 1))
  const sum = x.reduce((total, value) => total + Math.abs(value), 0)
  assert.ok(Math.abs(sum - 172.0067) < 1e-2, `Σ|x| = ${sum}`)
  assert.ok(Math.abs(sum / x.length - 0.223967) < 1e-3, `mean ${sum / x.length}`)
})

suite('variances as diffusers’ tests have them', () => {
  test('DDPM fixedSmall at t = 487 and 999', () => {
    const { rows } = plan({ sampler: 'ddpm', steps: 1000 })
    const variance = (t: number) => rows.find((row) => row.t === t)!.d ** 2
    assert.ok(Math.abs(variance(487) - 0.00979) < 1e-5)
    assert.ok(Math.abs(variance(999) - 0.02) < 1e-5)
    assert.equal(rows.at(-1)!.d, 0)
  })
  test('DDIM with η = 1 from 420 to 400 and from 980 to 960', () => {
    const { rows } = plan({ eta: 1, steps: 50 })
    const variance = (t: number) => rows.find((row) => row.t === t)!.d ** 2
    assert.ok(Math.abs(variance(420) - 0.14771) < 2e-5)
    assert.ok(Math.abs(variance(980) - 0.3246) < 2e-5)
  })
})

/** x → another x, through one row, with a made-up network's output. */
function step(row: Plan['rows'][number], x: number, output: number): number {
  const bound = row.clamp ?? Number.POSITIVE_INFINITY
  const x0 = Math.min(Math.max(row.p * x + row.q * output, -bound), bound)
  return row.a * x + row.b * x0 + row.e * output
}

suite('identities between samplers', () => {
  for (const predictionType of ['epsilon', 'x0', 'v'] as const) {
    test(`DDIM with η = 1 over all steps is DDPM fixedSmall, clamped: ${predictionType}`, () => {
      const ddim = plan({ steps: 1000, eta: 1, predictionType }).rows
      const ddpm = plan({ steps: 1000, sampler: 'ddpm', predictionType }).rows
      for (const [i, row] of ddim.entries()) {
        for (const key of ['t', 'p', 'q', 'clamp', 'a', 'b', 'd', 'e'] as const) {
          assert.ok(Math.abs(row[key]! - ddpm[i]![key]!) < 1e-9, `${key} at t = ${row.t}`)
        }
      }
    })

    test(`raw and re-derived ε agree where nothing is clamped, and differ where it is: ${predictionType}`, () => {
      const raw = plan({ epsilon: 'raw', predictionType }).rows
      const rederived = plan({ epsilon: 'rederived', predictionType }).rows
      for (const [i, row] of raw.entries()) {
        const free = (r: typeof row) => step({ ...r, clamp: null }, 0.4, -0.3)
        assert.ok(Math.abs(free(row) - free(rederived[i]!)) < 1e-9)
      }
      // x0 = 3 before clamping to 1.
      const [first] = [raw[4]!]
      const output = predictionType === 'x0' ? 3 : (3 - first.p * 0.4) / first.q
      assert.ok(Math.abs(step(first, 0.4, output) - step(rederived[4]!, 0.4, output)) > 0.1)
    })
  }

  test('fixedLarge has the variance β, fixedSmall β̃', () => {
    const large = plan({ sampler: 'ddpm', steps: 1000, varianceType: 'fixedLarge' }).rows
    const small = plan({ sampler: 'ddpm', steps: 1000 }).rows
    for (const i of [0, 500, 998]) {
      const { t } = large[i]!
      assert.ok(Math.abs(large[i]!.d ** 2 - schedule.betas[t]!) < 1e-12)
      assert.ok(Math.abs(small[i]!.d ** 2 - schedule.posteriorVariance[t]!) < 1e-12)
    }
  })
})

/** For x_0 ~ N(m, s²) the best ε is known: the network that training strives for. */
function optimal(mean: number, variance: number): (x: number, t: number) => number {
  return (x, t) => {
    const alphaBar = schedule.alphasCumprod[t]!
    const noisy = alphaBar * variance + 1 - alphaBar
    return (Math.sqrt(1 - alphaBar) * (x - Math.sqrt(alphaBar) * mean)) / noisy
  }
}

for (const options of [
  { sampler: 'ddpm', steps: 1000, spacing: 'leading' },
  { sampler: 'ddim', steps: 200, spacing: 'trailing', eta: 0 },
  { sampler: 'ddim', steps: 250, spacing: 'leading', eta: 0.5 },
] as const) {
  test(`samples of a normal distribution come out with its mean and variance: ${JSON.stringify(options)}`, async () => {
    const [mean, variance] = [0.3, 0.04]
    const count = 4000
    const model = optimal(mean, variance)
    const x = await runPlan(
      plan({ clamp: null, ...options }),
      (from, t) => from.map((value) => model(value, t)),
      {
        seed: 1,
        pictures: [0],
        size: count,
      },
    )
    const found = x.reduce((a, b) => a + b) / count
    const spread = x.reduce((a, b) => a + (b - found) ** 2, 0) / count
    assert.ok(Math.abs(found - mean) < 5 * Math.sqrt(variance / count), `mean ${found}`)
    assert.ok(Math.abs(spread / variance - 1) < 5 * Math.sqrt(2 / count) + 0.01, `variance ${spread}`)
  })
}

test('earlier x0 enter by c: a linear multistep row is carried out as written', async () => {
  const row = { t: 0, p: 1, q: 0, clamp: null, a: 0.5, b: 0.25, c: [], d: 0, e: 0.1 }
  const two: Plan = { sampler: 'ddim', rows: [row, { ...row, c: [2] }, { ...row, c: [2, 3] }] }
  const seen: number[] = []
  const denoise = (x: Float32Array) => {
    seen.push(x[0]!)
    return Float32Array.of(1)
  }
  const [last] = await runPlan(two, denoise, { seed: 0, pictures: [0], size: 1 })
  const [x0, x1, x2] = seen as [number, number, number]
  const near = (found: number | undefined, wanted: number) =>
    assert.ok(Math.abs(found! - wanted) < 1e-5, `${found}`)
  near(x1, 0.75 * x0 + 0.1)
  near(x2, 0.75 * x1 + 2 * x0 + 0.1)
  near(last, 0.75 * x2 + 2 * x1 + 3 * x0 + 0.1)
})

suite('generate', () => {
  const facts: ModelFacts = {
    shape: { channels: 1, height: 2, width: 2 },
    classes: ['cat', 'dog'],
    scheduler: writeScheduler(paperSchedule, 'epsilon'),
    sampling: { sampler: 'ddpm', steps: 20, spacing: 'trailing', guidance: 1 },
  }
  const network = (x: Float32Array, timestep: Float32Array, label: Float32Array | null) =>
    x.map((value, i) => value * 0.5 + 0.1 * label![Math.floor(i / 4)]! + timestep[0]! * 1e-4)

  test('a picture is the same alone, in a batch and later in a larger one', async () => {
    const all = await generate(facts, network, { seed: 3, count: 6 })
    const some = await generate(facts, network, { seed: 3, count: 2, first: 4 })
    assert.deepEqual([...all.subarray(16)], [...some])
    const other = await generate(facts, network, { seed: 4, count: 6 })
    assert.notDeepEqual([...all], [...other])
  })

  test('guidance 1 is the class alone, 0 no class, 2 as far beyond', async () => {
    const one = { seed: 0, count: 1, steps: 1, sampler: 'ddim', className: 'cat' } as const
    const wide = { ...facts, scheduler: { ...facts.scheduler, clip_sample: false } }
    const draw = async (guidance: number) => (await generate(wide, network, { ...one, guidance }))[0]!
    const [none, cat, twice] = [await draw(0), await draw(1), await draw(2)]
    assert.notEqual(none, cat)
    assert.ok(Math.abs(twice - cat - (cat - none)) < 1e-3 * Math.abs(cat - none), `${none} ${cat} ${twice}`)
  })

  test('a class is asked for by name or by a word of it; without one, each picture has its own by its seed', async () => {
    const many = { ...facts, classes: ['red cat', 'blue cat', 'red dog'] }
    const asked: number[][] = []
    const spy: typeof network = (x, timestep, label) => {
      asked.push([...label!])
      return network(x, timestep, label)
    }
    for (const className of ['blue cat', 'red', null]) {
      await generate(many, spy, { seed: 2, count: 40, steps: 1, className })
    }
    const [exact, word, any] = asked as [number[], number[], number[]]
    assert.deepEqual(new Set(exact), new Set([1]))
    assert.deepEqual(new Set(word), new Set([0, 2]))
    assert.deepEqual(new Set(any), new Set([0, 1, 2]))
    await generate(many, spy, { seed: 2, count: 5, first: 20, steps: 1 })
    assert.deepEqual(asked[3], any.slice(20, 25))
  })

  test('unknown classes and impossible numbers are refused by name', () => {
    const refused = (options: object, message: RegExp) =>
      assert.throws(() => generate(facts, network, { seed: 0, count: 1, ...options }), message)
    refused({ className: 'cow' }, /"cow".*cat, dog/)
    refused({ count: 0 }, /count of 0/)
    refused({ seed: -1 }, /seed -1/)
    refused({ steps: 2000 }, /2000 steps/)
    refused({ eta: 2, sampler: 'ddim' }, /eta 2/)
  })

  test('a signal stops it', async () => {
    const controller = new AbortController()
    const drawing = generate(facts, network, {
      seed: 0,
      count: 1,
      signal: controller.signal,
      onStep: () => controller.abort(),
    })
    await assert.rejects(drawing, { name: 'AbortError' })
  })
})

test('the scheduler block says the same when read again', () => {
  for (const predictionType of ['epsilon', 'x0', 'v'] as const) {
    for (const [betaSchedule, named] of [
      ['linear', 'linear'],
      ['cosine', 'squaredcos_cap_v2'],
      ['sigmoid', 'sigmoid'],
    ] as const) {
      const config = { ...paperSchedule, betaSchedule, timesteps: 500 }
      const block = writeScheduler(config, predictionType)
      assert.equal(block.beta_schedule, named)
      const read = readScheduler(block)
      assert.deepEqual(read, { schedule: config, predictionType, clamp: 1, varianceType: 'fixedSmall' })
    }
  }
})

test('a plan is printed with a line per step', () => {
  const lines = formatPlan(plan({ sampler: 'ddpm' })).split('\n')
  assert.equal(lines.length, 12)
  assert.match(
    lines[2]!,
    /^900 +60\.83052327 +-60\.82230315 +1 +0\.42287200 +0\.03187517 +0\.90538394 +0\.00000000$/,
  )
})
