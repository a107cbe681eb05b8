import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { predictionTypes, varianceTypes } from '../diffusion/process.ts'
import { createSchedule, paperSchedule } from '../diffusion/schedule.ts'
import { fromSchedulerConfig, parseSchedulerConfig, toSchedulerConfig } from './scheduler-config.ts'

const read = (block: object) => fromSchedulerConfig(parseSchedulerConfig(JSON.stringify(block), 'here.json'))

test('a written configuration is read as the same settings', () => {
  for (const predictionType of predictionTypes) {
    for (const varianceType of varianceTypes) {
      for (const [betaSchedule, diffusersName] of [
        ['linear', 'linear'],
        ['cosine', 'squaredcos_cap_v2'],
        ['sigmoid', 'sigmoid'],
      ] as const) {
        const config = { ...paperSchedule, betaSchedule, timesteps: 500 }
        const block = toSchedulerConfig(config, predictionType, varianceType)
        assert.equal(block.beta_schedule, diffusersName)
        const { sampling, ...settings } = read(block)
        assert.deepEqual(settings, { schedule: config, predictionType, clamp: 1, varianceType })
        assert.deepEqual(sampling, { sampler: 'ddpm', spacing: 'trailing', offset: 0 })
      }
    }
  }
  const explicit = { ...paperSchedule, timesteps: 3, betas: [0.1, 0.2, 0.3], zeroTerminalSnr: true }
  assert.deepEqual(read(toSchedulerConfig(explicit, 'v')).schedule, explicit)
})

test('configurations of published pipelines are read with the defaults of diffusers', () => {
  // The configuration of google/ddpm-cifar10-32, from diffusers 0.1.
  const ddpm = read({
    _class_name: 'DDPMScheduler',
    _diffusers_version: '0.1.1',
    beta_end: 0.02,
    beta_schedule: 'linear',
    beta_start: 0.0001,
    clip_sample: true,
    num_train_timesteps: 1000,
    trained_betas: null,
    variance_type: 'fixed_large',
  })
  assert.deepEqual(ddpm, {
    schedule: paperSchedule,
    predictionType: 'epsilon',
    clamp: 1,
    varianceType: 'fixedLarge',
    sampling: { sampler: 'ddpm', spacing: 'leading', offset: 0 },
  })

  const dpm = read({ _class_name: 'DPMSolverMultistepScheduler', use_karras_sigmas: true, solver_order: 3 })
  assert.deepEqual(dpm.sampling, {
    sampler: 'dpmpp',
    spacing: 'karras',
    order: 3,
    solver: 'midpoint',
    curvature: 'half',
    lowerOrderFinal: true,
    eulerAtFinal: false,
    end: 'clean',
    offset: 0,
  })
  assert.equal(dpm.clamp, null)
  // DDIM uses the raw ε together with the clamped x0, as in diffusers' pipelines.
  assert.deepEqual(read({ _class_name: 'DDIMScheduler', set_alpha_to_one: false }).sampling, {
    sampler: 'ddim',
    spacing: 'leading',
    eta: 0,
    epsilon: 'raw',
    end: 'first',
    offset: 0,
  })
  // Heun's defaults differ from those of the other schedulers.
  assert.deepEqual(
    [
      read({ _class_name: 'HeunDiscreteScheduler' }).schedule.betaEnd,
      read({ _class_name: 'HeunDiscreteScheduler' }).clamp,
    ],
    [0.012, null],
  )
})

test('-Infinity is parsed: Python writes it, although JSON does not have it', () => {
  const text =
    '{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "steps_offset": 0}'
  assert.equal(fromSchedulerConfig(parseSchedulerConfig(text, 'x')).sampling.lambdaMin, undefined)
  assert.equal(
    fromSchedulerConfig(parseSchedulerConfig(text.replace('-Infinity', '-5.1'), 'x')).sampling.lambdaMin,
    -5.1,
  )
})

suite('options that are not implemented are rejected by name', () => {
  const cases: [string, object, RegExp][] = [
    [
      'another class',
      { _class_name: 'PNDMScheduler' },
      /expected one of DDPMScheduler, DDIMScheduler[\s\S]*_class_name/,
    ],
    ['an unknown option', { _class_name: 'DDPMScheduler', surprise: 1 }, /surprise/],
    ['an option of another class', { _class_name: 'DDPMScheduler', solver_order: 2 }, /solver_order/],
    ['learned', { _class_name: 'DDPMScheduler', variance_type: 'learned' }, /variance_type/],
    ['scaled_linear', { _class_name: 'DDIMScheduler', beta_schedule: 'scaled_linear' }, /beta_schedule/],
    [
      'ε-prediction in UniPC',
      { _class_name: 'UniPCMultistepScheduler', predict_x0: false },
      /not implemented[\s\S]*predict_x0/,
    ],
    ['solver_p', { _class_name: 'UniPCMultistepScheduler', solver_p: {} }, /not implemented[\s\S]*solver_p/],
    ['flow', { _class_name: 'UniPCMultistepScheduler', use_flow_sigmas: true }, /use_flow_sigmas/],
    ['beta sigmas', { _class_name: 'EulerDiscreteScheduler', use_beta_sigmas: true }, /use_beta_sigmas/],
    ['σ bounds', { _class_name: 'EulerDiscreteScheduler', sigma_min: 0.02 }, /sigma_min/],
    [
      'log-linear',
      { _class_name: 'EulerDiscreteScheduler', interpolation_type: 'log_linear' },
      /interpolation_type/,
    ],
    [
      'DPM-Solver',
      { _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'dpmsolver' },
      /algorithm_type/,
    ],
    ['order 4', { _class_name: 'DPMSolverMultistepScheduler', solver_order: 4 }, /solver_order/],
  ]
  for (const [name, block, message] of cases) {
    test(name, () => assert.throws(() => read(block), { name: 'UserError', message }))
  }
  test('text that is not JSON', () =>
    assert.throws(
      () => parseSchedulerConfig('{', 'x.json'),
      /Invalid scheduler configuration x\.json: expected JSON/,
    ))
})

suite('schedules of configurations', () => {
  test('zero terminal SNR shifts √ᾱ to end at 0 and preserves the first value (Lin et al., algorithm 1)', () => {
    const plain = createSchedule(paperSchedule)
    const { alphasCumprod, betas } = createSchedule(
      read({ _class_name: 'DDIMScheduler', rescale_betas_zero_snr: true }).schedule,
    )
    assert.equal(alphasCumprod[999], 0)
    assert.equal(betas[999], 1)
    const root = (t: number) => Math.sqrt(plain.alphasCumprod[t]!)
    for (const t of [0, 1, 500, 998]) {
      const expected = ((root(t) - root(999)) * root(0)) / (root(0) - root(999))
      assert.ok(Math.abs(Math.sqrt(alphasCumprod[t]!) - expected) < 1e-12, `t = ${t}`)
    }
  })

  test('explicit β override the other parameters', () => {
    const betas = [0.1, 0.2, 0.3]
    const block = { _class_name: 'DDPMScheduler', num_train_timesteps: 3, trained_betas: betas }
    const schedule = createSchedule(read(block).schedule)
    assert.deepEqual([...schedule.betas], betas)
    assert.ok(Math.abs(schedule.alphasCumprod[2]! - 0.9 * 0.8 * 0.7) < 1e-15)
    assert.throws(
      () => createSchedule(read({ ...block, num_train_timesteps: 4 }).schedule),
      /Invalid betas: expected 4 .* got 3/,
    )
  })
})
