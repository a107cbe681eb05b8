import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createSchedule, paperSchedule } from '../diffusion/schedule.ts'
import { writeScheduler } from '../manifest/scheduler-config.ts'
import { samplerLevels } from '../planning/samplers.ts'
import { fillNoise } from '../sampling/loop.ts'
import { planRepaint } from '../sampling/repaint.ts'
import { generate, invert, type ModelInfo, planFor, resolveSampling } from './generate.ts'
import { slerp } from './interpolate.ts'

suite('generate', () => {
  const facts: ModelInfo = {
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

/** One class, one number per picture, a linear schedule: data is normal, and its best network known. */
suite('pictures that start from pictures', () => {
  const [mean, deviation] = [0.3, 0.2]
  const schedule = createSchedule(paperSchedule)
  const size = 64
  const facts: ModelInfo = {
    shape: { channels: 1, height: 8, width: 8 },
    classes: [],
    scheduler: { ...writeScheduler(paperSchedule, 'x0'), clip_sample: false },
    sampling: { sampler: 'ddim', steps: 200, spacing: 'trailing', guidance: 1 },
  }
  const scaleAt = (alphaBar: number) => Math.sqrt(alphaBar * deviation ** 2 + 1 - alphaBar)
  /** E[x_0 | x] of independent normal pixels. */
  const best = (x: Float32Array, [t]: Float32Array) => {
    const alphaBar = schedule.alphasCumprod[Math.round(t!)]!
    const alpha = Math.sqrt(alphaBar)
    const gain = (alpha * deviation ** 2) / scaleAt(alphaBar) ** 2
    return x.map((value) => mean + gain * (value - alpha * mean))
  }
  const image = Float32Array.from({ length: size }, (_, i) => mean + deviation * Math.sin(i))
  const worst = (found: Float32Array, wanted: ArrayLike<number>) =>
    found.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i]!)), 0)

  test('SDEdit begins as deep in noise as the strength says; DDIM then moves by quantiles', async () => {
    const asked: number[] = []
    const spy = (x: Float32Array, t: Float32Array) => {
      asked.push(t[0]!)
      return best(x, t)
    }
    const x = await generate(facts, spy, { seed: 4, count: 1, init: image, strength: 0.6 })
    assert.deepEqual([asked.length, asked[0]], [120, 599])
    const noise = new Float32Array(size)
    fillNoise(4, [0], 0, noise)
    const alphaBar = schedule.alphasCumprod[599]!
    const alpha = Math.sqrt(alphaBar)
    const wanted = image.map((value, i) => {
      const start = alpha * value + Math.sqrt(1 - alphaBar) * noise[i]!
      return mean + (deviation * (start - alpha * mean)) / scaleAt(alphaBar)
    })
    assert.ok(worst(x, wanted) < 0.02, `off by ${worst(x, wanted)}`)
    assert.deepEqual(await generate(facts, spy, { seed: 4, count: 1, init: image, strength: 0 }), image)
  })

  test('inversion finds the noise that leads there, and DDIM leads back', async () => {
    const given = { seed: 0, count: 1, steps: 500 }
    const noise = await invert(facts, best, image, given)
    const alphaBar = schedule.alphasCumprod[999]!
    const alpha = Math.sqrt(alphaBar)
    const wanted = image.map((value) => alpha * mean + ((value - mean) / deviation) * scaleAt(alphaBar))
    assert.ok(worst(noise, wanted) < 0.02, `off by ${worst(noise, wanted)}`)
    const back = await generate(facts, best, { ...given, noise, eta: 0, clamp: null })
    assert.ok(worst(back, image) < 0.01, `off by ${worst(back, image)}`)
  })

  test('given pictures of no given class are drawn without one', async () => {
    const asked = new Set<number>()
    const spy = (x: Float32Array, t: Float32Array, label: Float32Array | null) => {
      asked.add(label![0]!)
      return label![0] === 2 ? best(x, t) : x.map(() => 9)
    }
    const two = {
      ...facts,
      classes: ['one', 'other'],
      sampling: { ...facts.sampling, steps: 4, guidance: 3 },
    }
    const x = await generate(two, spy, { seed: 0, count: 1, init: image, strength: 0.5 })
    assert.ok(x.every((value) => Math.abs(value) < 2) && asked.has(2))
    const asOne = await generate(two, spy, {
      seed: 0,
      count: 1,
      init: image,
      strength: 0.5,
      className: 'one',
    })
    assert.ok(asOne.some((value) => Math.abs(value) > 2))
  })

  test('sizes that do not fit, and a mask without its picture, are refused', () => {
    const refused = (options: object, message: RegExp) =>
      assert.throws(() => generate(facts, best, { seed: 0, count: 1, ...options }), message)
    refused({ init: new Float32Array(3) }, /Found 3 numbers of init; expected 64/)
    refused({ mask: new Float32Array(size) }, /mask without a picture/)
    refused({ init: image, strength: 1.5 }, /strength 1\.5/)
    refused({ guidanceRescale: 2 }, /guidance rescale 2/)
  })
})

test('what a manifest says of its sampler holds for no other', () => {
  const scheduler = writeScheduler(paperSchedule, 'epsilon')
  const sampling = { sampler: 'unipc', order: 3, steps: 8, spacing: 'karras', guidance: 1 } as const
  const name = (given: object) => planFor({ scheduler, sampling }, given).name
  assert.equal(name({}), 'unipc of order 3')
  assert.equal(name({ sampler: 'sde-dpmpp' }), 'sde-dpmpp of order 2')
  assert.equal(name({ order: 2 }), 'unipc of order 2')
})

suite('RePaint', () => {
  // Pairs of pixels whose difference is small: the kept one tells much of the one that is drawn.
  const [deviation, correlation] = [0.5, 0.9]
  const schedule = createSchedule(paperSchedule)
  const facts: ModelInfo = {
    shape: { channels: 1, height: 1, width: 2 },
    classes: [],
    scheduler: { ...writeScheduler(paperSchedule, 'x0'), clip_sample: false },
    sampling: { sampler: 'ddpm', steps: 100, spacing: 'trailing', guidance: 1 },
  }
  /** E[x_0 | x]: sum and difference of the pair are independent. */
  const best = (x: Float32Array, [t]: Float32Array) => {
    const alphaBar = schedule.alphasCumprod[t!]!
    const gain = (variance: number) => (Math.sqrt(alphaBar) * variance) / (alphaBar * variance + 1 - alphaBar)
    const [along, across] = [1 + correlation, 1 - correlation].map((factor) =>
      gain(deviation ** 2 * factor),
    ) as [number, number]
    const out = new Float32Array(x.length)
    for (let i = 0; i < x.length; i += 2) {
      const [sum, difference] = [along * (x[i]! + x[i + 1]!), across * (x[i]! - x[i + 1]!)]
      out.set([(sum + difference) / 2, (sum - difference) / 2], i)
    }
    return out
  }
  const count = 1500
  const kept = 0.8
  const image = Float32Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? kept : -0.9))
  const mask = Float32Array.from({ length: 2 * count }, (_, i) => i % 2)
  const drawn = async (jumps: { jump: number; resample: number }) => {
    const x = await generate(facts, best, { seed: 1, count, init: image, mask, jumps })
    for (let i = 0; i < x.length; i += 2) assert.equal(x[i], image[i])
    const values = x.filter((_, i) => i % 2 === 1)
    const mean = values.reduce((sum, value) => sum + value) / count
    return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count }
  }

  test('keeps what the mask keeps, and draws the rest as it is distributed beside it', async () => {
    const { mean, variance } = await drawn({ jump: 5, resample: 10 })
    const wanted = { mean: correlation * kept, variance: deviation ** 2 * (1 - correlation ** 2) }
    // RePaint agrees with its own picture only in the limit of small steps and many jumps.
    assert.ok(Math.abs(mean - wanted.mean) < 0.07, `mean ${mean}, not ${wanted.mean}`)
    assert.ok(Math.abs(variance / wanted.variance - 1) < 0.15, `variance ${variance}, not ${wanted.variance}`)
  })

  test('it is the jumps that make them agree', async () => {
    const { mean } = await drawn({ jump: 5, resample: 1 })
    assert.ok(correlation * kept - mean > 0.2, `mean ${mean}`)
  })

  test('the path goes down, and back up before each stretch is drawn again', () => {
    const { options, schedule } = resolveSampling(facts, { steps: 9 })
    const { rows } = planRepaint(samplerLevels(schedule, options), options, { jump: 4, resample: 2 })
    const path = rows.map(({ t }) => t)
    const down = [999, 888, 777, 666, 555, 443, 332, 221, 110]
    assert.deepEqual(path.slice(0, 4), down.slice(0, 4))
    // At the fifth level for the first time: back four levels, and down again; the same at the last but the end.
    assert.deepEqual(path, [...down.slice(0, 4), null, ...down.slice(0, 8), null, ...down.slice(4, 9)])
    // Noise is added as the forward process would: variances stay 1 − ᾱ about √ᾱ·x_0.
    for (const { t, a, d, alphaBar, alphaBarNext } of rows) {
      if (t !== null) continue
      assert.ok(Math.abs(a ** 2 * alphaBar - alphaBarNext) < 1e-12)
      assert.ok(Math.abs(a ** 2 * (1 - alphaBar) + (d as number) ** 2 - (1 - alphaBarNext)) < 1e-12)
    }
  })
})

test('slerp goes along the sphere at even pace', () => {
  const [a, b] = [Float32Array.of(2, 0, 0), Float32Array.of(0, 2, 0)]
  assert.deepEqual(
    [...slerp(a, b, 0), ...slerp(a, b, 1)].map((value) => Math.round(value * 1e6) / 1e6),
    [2, 0, 0, 0, 2, 0],
  )
  for (const fraction of [0.25, 0.5, 0.8]) {
    const [x, y] = slerp(a, b, fraction)
    assert.ok(Math.abs(Math.hypot(x!, y!) - 2) < 1e-6)
    assert.ok(Math.abs(Math.atan2(y!, x!) - (fraction * Math.PI) / 2) < 1e-6)
  }
  assert.deepEqual([...slerp(a, a, 0.3)], [...a])
})
