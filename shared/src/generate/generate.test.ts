import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createSchedule, paperSchedule } from '../diffusion/schedule.ts'
import { toSchedulerConfig } from '../manifest/scheduler-config.ts'
import { samplerLevels } from '../planning/samplers.ts'
import { fillNoise } from '../sampling/loop.ts'
import { planRepaint } from '../sampling/repaint.ts'
import { generate, invert } from './generate.ts'
import { slerp } from './interpolate.ts'
import { type ModelInfo, planFor, resolveSampling } from './model.ts'

suite('generate', () => {
  const model: ModelInfo = {
    shape: { channels: 1, height: 2, width: 2 },
    classes: ['cat', 'dog'],
    scheduler: toSchedulerConfig(paperSchedule, 'epsilon'),
    sampling: { sampler: 'ddpm', steps: 20, spacing: 'trailing', guidance: 1 },
  }
  const network = (x: Float32Array, timestep: Float32Array, label: Float32Array | null) =>
    x.map((value, i) => value * 0.5 + 0.1 * label![Math.floor(i / 4)]! + timestep[0]! * 1e-4)

  test('an image does not depend on the batch that contains it', async () => {
    const batch = await generate(model, network, { seed: 3, count: 6 })
    const part = await generate(model, network, { seed: 3, count: 2, first: 4 })
    assert.deepEqual([...batch.subarray(16)], [...part])
    const other = await generate(model, network, { seed: 4, count: 6 })
    assert.notDeepEqual([...batch], [...other])
  })

  test('guidance 0 is unconditional, 1 is conditional, and 2 extrapolates by the distance between them', async () => {
    const one = { seed: 0, count: 1, steps: 1, sampler: 'ddim', className: 'cat' } as const
    const unclamped = { ...model, scheduler: { ...model.scheduler, clip_sample: false } }
    const firstValue = async (guidance: number) =>
      (await generate(unclamped, network, { ...one, guidance }))[0]!
    const [unconditional, cat, extrapolated] = [await firstValue(0), await firstValue(1), await firstValue(2)]
    assert.notEqual(unconditional, cat)
    const difference = cat - unconditional
    assert.ok(
      Math.abs(extrapolated - cat - difference) < 1e-3 * Math.abs(difference),
      `${unconditional} ${cat} ${extrapolated}`,
    )
  })

  test('a name or a shared word selects a class; by default the seed determines it', async () => {
    const many = { ...model, classes: ['red cat', 'blue cat', 'red dog'] }
    const labels: number[][] = []
    const spy: typeof network = (x, timestep, label) => {
      labels.push([...label!])
      return network(x, timestep, label)
    }
    for (const className of ['blue cat', 'red', null]) {
      await generate(many, spy, { seed: 2, count: 40, steps: 1, className })
    }
    const [exact, word, any] = labels as [number[], number[], number[]]
    assert.deepEqual(new Set(exact), new Set([1]))
    assert.deepEqual(new Set(word), new Set([0, 2]))
    assert.deepEqual(new Set(any), new Set([0, 1, 2]))
    await generate(many, spy, { seed: 2, count: 5, first: 20, steps: 1 })
    assert.deepEqual(labels[3], any.slice(20, 25))
  })

  test('unknown classes and invalid numbers are rejected with the name of the option', () => {
    const rejects = (options: object, message: RegExp) =>
      assert.throws(() => generate(model, network, { seed: 0, count: 1, ...options }), message)
    rejects({ className: 'cow' }, /Unknown class "cow": expected one of cat, dog/)
    rejects({ count: 0 }, /Invalid count: .* got 0/)
    rejects({ seed: -1 }, /Invalid seed: .* got -1/)
    rejects({ steps: 2000 }, /Invalid steps: .* got 2000/)
    rejects({ eta: 2, sampler: 'ddim' }, /Invalid eta: .* got 2/)
  })

  test('an abort signal stops sampling', async () => {
    const controller = new AbortController()
    const sampling = generate(model, network, {
      seed: 0,
      count: 1,
      signal: controller.signal,
      onStep: () => controller.abort(),
    })
    await assert.rejects(sampling, { name: 'AbortError' })
  })
})

/** The pixels of the data are independent and normal, so that the optimal model is known in closed form. */
suite('sampling that starts from images', () => {
  const [mean, deviation] = [0.3, 0.2]
  const schedule = createSchedule(paperSchedule)
  const size = 64
  const model: ModelInfo = {
    shape: { channels: 1, height: 8, width: 8 },
    classes: [],
    scheduler: { ...toSchedulerConfig(paperSchedule, 'x0'), clip_sample: false },
    sampling: { sampler: 'ddim', steps: 200, spacing: 'trailing', guidance: 1 },
  }
  const scaleAt = (alphaBar: number) => Math.sqrt(alphaBar * deviation ** 2 + 1 - alphaBar)
  /** Returns E[x_0 | x] for independent normal pixels. */
  const optimalModel = (x: Float32Array, [t]: Float32Array) => {
    const alphaBar = schedule.alphasCumprod[Math.round(t!)]!
    const alpha = Math.sqrt(alphaBar)
    const gain = (alpha * deviation ** 2) / scaleAt(alphaBar) ** 2
    return x.map((value) => mean + gain * (value - alpha * mean))
  }
  const image = Float32Array.from({ length: size }, (_, i) => mean + deviation * Math.sin(i))
  const maxError = (actual: Float32Array, expected: ArrayLike<number>) =>
    actual.reduce((max, value, i) => Math.max(max, Math.abs(value - expected[i]!)), 0)

  test('SDEdit starts at the noise level that the strength selects; DDIM then preserves quantiles', async () => {
    const timesteps: number[] = []
    const spy = (x: Float32Array, t: Float32Array) => {
      timesteps.push(t[0]!)
      return optimalModel(x, t)
    }
    const x = await generate(model, spy, { seed: 4, count: 1, init: image, strength: 0.6 })
    assert.deepEqual([timesteps.length, timesteps[0]], [120, 599])
    const noise = new Float32Array(size)
    fillNoise(4, [0], 0, noise)
    const alphaBar = schedule.alphasCumprod[599]!
    const alpha = Math.sqrt(alphaBar)
    const expected = image.map((value, i) => {
      const start = alpha * value + Math.sqrt(1 - alphaBar) * noise[i]!
      return mean + (deviation * (start - alpha * mean)) / scaleAt(alphaBar)
    })
    assert.ok(maxError(x, expected) < 0.02, `error ${maxError(x, expected)}`)
    assert.deepEqual(await generate(model, spy, { seed: 4, count: 1, init: image, strength: 0 }), image)
  })

  test('inversion finds the noise from which DDIM reproduces the image', async () => {
    const options = { seed: 0, count: 1, steps: 500 }
    const noise = await invert(model, optimalModel, image, options)
    const alphaBar = schedule.alphasCumprod[999]!
    const alpha = Math.sqrt(alphaBar)
    const expected = image.map((value) => alpha * mean + ((value - mean) / deviation) * scaleAt(alphaBar))
    assert.ok(maxError(noise, expected) < 0.02, `error ${maxError(noise, expected)}`)
    const reproduced = await generate(model, optimalModel, { ...options, noise, eta: 0, clamp: null })
    assert.ok(maxError(reproduced, image) < 0.01, `error ${maxError(reproduced, image)}`)
  })

  test('sampling from images without a class is unconditional', async () => {
    const labels = new Set<number>()
    const spy = (x: Float32Array, t: Float32Array, label: Float32Array | null) => {
      labels.add(label![0]!)
      return label![0] === 2 ? optimalModel(x, t) : x.map(() => 9)
    }
    const withClasses = {
      ...model,
      classes: ['one', 'other'],
      sampling: { ...model.sampling, steps: 4, guidance: 3 },
    }
    const x = await generate(withClasses, spy, { seed: 0, count: 1, init: image, strength: 0.5 })
    assert.ok(x.every((value) => Math.abs(value) < 2) && labels.has(2))
    const conditional = await generate(withClasses, spy, {
      seed: 0,
      count: 1,
      init: image,
      strength: 0.5,
      className: 'one',
    })
    assert.ok(conditional.some((value) => Math.abs(value) > 2))
  })

  test('wrong sizes and a mask without an image are rejected', () => {
    const rejects = (options: object, message: RegExp) =>
      assert.throws(() => generate(model, optimalModel, { seed: 0, count: 1, ...options }), message)
    rejects({ init: new Float32Array(3) }, /Invalid init: expected 64 values .* got 3/)
    rejects({ mask: new Float32Array(size) }, /Invalid mask: expected an image/)
    rejects({ init: image, strength: 1.5 }, /Invalid strength: .* got 1\.5/)
    rejects({ guidanceRescale: 2 }, /Invalid guidance rescale: .* got 2/)
  })
})

test('sampler options in a manifest apply only to its sampler', () => {
  const scheduler = toSchedulerConfig(paperSchedule, 'epsilon')
  const sampling = { sampler: 'unipc', order: 3, steps: 8, spacing: 'karras', guidance: 1 } as const
  const name = (overrides: object) => planFor({ scheduler, sampling }, overrides).name
  assert.equal(name({}), 'unipc of order 3')
  assert.equal(name({ sampler: 'sde-dpmpp' }), 'sde-dpmpp of order 2')
  assert.equal(name({ order: 2 }), 'unipc of order 2')
})

suite('RePaint', () => {
  // Each image is a pair of correlated pixels. The retained pixel largely determines the generated one.
  const [deviation, correlation] = [0.5, 0.9]
  const schedule = createSchedule(paperSchedule)
  const model: ModelInfo = {
    shape: { channels: 1, height: 1, width: 2 },
    classes: [],
    scheduler: { ...toSchedulerConfig(paperSchedule, 'x0'), clip_sample: false },
    sampling: { sampler: 'ddpm', steps: 100, spacing: 'trailing', guidance: 1 },
  }
  /** Returns E[x_0 | x]. Sum and difference of the pair are independent. */
  const optimalModel = (x: Float32Array, [t]: Float32Array) => {
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
  const retained = 0.8
  const image = Float32Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? retained : -0.9))
  const mask = Float32Array.from({ length: 2 * count }, (_, i) => i % 2)
  const moments = async (jumps: { jump: number; resample: number }) => {
    const x = await generate(model, optimalModel, { seed: 1, count, init: image, mask, jumps })
    for (let i = 0; i < x.length; i += 2) assert.equal(x[i], image[i])
    const values = x.filter((_, i) => i % 2 === 1)
    const mean = values.reduce((sum, value) => sum + value) / count
    return { mean, variance: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count }
  }

  test('retains the unmasked pixels and generates the others from their conditional distribution', async () => {
    const { mean, variance } = await moments({ jump: 5, resample: 10 })
    const expected = { mean: correlation * retained, variance: deviation ** 2 * (1 - correlation ** 2) }
    // RePaint is exact only in the limit of small steps and many jumps.
    assert.ok(Math.abs(mean - expected.mean) < 0.07, `mean ${mean}, expected ${expected.mean}`)
    assert.ok(
      Math.abs(variance / expected.variance - 1) < 0.15,
      `variance ${variance}, expected ${expected.variance}`,
    )
  })

  test('without jumps the generated pixels do not match the retained ones', async () => {
    const { mean } = await moments({ jump: 5, resample: 1 })
    assert.ok(correlation * retained - mean > 0.2, `mean ${mean}`)
  })

  test('the plan returns to noisier levels before it repeats steps', () => {
    const { options, schedule } = resolveSampling(model, { steps: 9 })
    const { rows } = planRepaint(samplerLevels(schedule, options), options, { jump: 4, resample: 2 })
    const path = rows.map(({ t }) => t)
    const down = [999, 888, 777, 666, 555, 443, 332, 221, 110]
    assert.deepEqual(path.slice(0, 4), down.slice(0, 4))
    // The plan jumps back four levels from the fifth level and from the last level before the end.
    assert.deepEqual(path, [...down.slice(0, 4), null, ...down.slice(0, 8), null, ...down.slice(4, 9)])
    // The added noise follows the forward process: x keeps the mean √ᾱ·x_0 and the variance 1 − ᾱ.
    for (const { t, a, d, alphaBar, alphaBarNext } of rows) {
      if (t !== null) continue
      assert.ok(Math.abs(a ** 2 * alphaBar - alphaBarNext) < 1e-12)
      assert.ok(Math.abs(a ** 2 * (1 - alphaBar) + (d as number) ** 2 - (1 - alphaBarNext)) < 1e-12)
    }
  })
})

test('slerp moves along the sphere at constant speed', () => {
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
