// Compares the samplers with the figures of diffusers' own tests (tests/schedulers/test_scheduler_*.py), within the
// tolerance of each test. Every sampler is configured by the content of a scheduler_config.json file.
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { planInversion } from '@ddpm/shared'
import {
  type Figures,
  loop,
  noisyLoop,
  peerSample,
  planFromConfig,
  scalingLoop,
  startAt,
} from './support/published.ts'

const linear = { num_train_timesteps: 1000, beta_start: 0.0001, beta_end: 0.02, beta_schedule: 'linear' }

function assertNear(actual: Figures, { sum, mean }: { sum?: number; mean: number }): void {
  const text = `Σ|x| ${actual.sum}, mean |x| ${actual.mean}`
  if (sum !== undefined) assert.ok(Math.abs(actual.sum - sum) < 1e-2, `${text}; published Σ ${sum}`)
  assert.ok(Math.abs(actual.mean - mean) < 1e-3, `${text}; published mean ${mean}`)
}

function loopFrom(parsed: ReturnType<typeof planFromConfig>, skipped: number): Promise<Figures> {
  const { plan, from } = startAt(parsed, skipped)
  return loop(plan, from)
}

suite('DDIMScheduler, test_scheduler_ddim.py', () => {
  const config = { _class_name: 'DDIMScheduler', ...linear, clip_sample: true }
  const figures = [
    ['test_full_loop_no_noise', {}, { sum: 172.0067, mean: 0.223967 }],
    ['…_with_v_prediction', { prediction_type: 'v_prediction' }, { sum: 52.5302, mean: 0.0684 }],
    [
      '…_with_set_alpha_to_one',
      { set_alpha_to_one: true, beta_start: 0.01 },
      { sum: 149.8295, mean: 0.1951 },
    ],
    [
      '…_with_no_set_alpha_to_one',
      { set_alpha_to_one: false, beta_start: 0.01 },
      { sum: 149.0784, mean: 0.1941 },
    ],
  ] as const
  for (const [name, change, expected] of figures) {
    test(name, async () =>
      assertNear(await loop(planFromConfig({ ...config, ...change }, {}).plan, peerSample()), expected),
    )
  }

  test('…_with_noise', async () => {
    assertNear(await loopFrom(planFromConfig(config, {}), 8), { sum: 354.5418, mean: 0.4616 })
  })

  test('test_steps_offset', () => {
    const { plan } = planFromConfig({ ...config, steps_offset: 1 }, { steps: 5 })
    assert.deepEqual(
      plan.rows.map(({ t }) => t),
      [801, 601, 401, 201, 1],
    )
  })

  test('test_variance, with η = 1', () => {
    const variance = (from: number, to: number) => {
      const steps = 1000 / (from - to)
      const { plan } = planFromConfig({ ...config, clip_sample: false }, { steps, eta: 1 })
      return (plan.rows.find(({ t }) => t === from)!.d as number) ** 2
    }
    // diffusers allows 1e-5 around its float32 value; float64 gives 0.147720.
    assert.ok(Math.abs(variance(420, 400) - 0.14771) < 2e-5)
    assert.ok(Math.abs(variance(980, 960) - 0.3246) < 1e-5)
    assert.ok(Math.abs(variance(487, 486) - 0.00979) < 1e-5)
    assert.ok(Math.abs(variance(999, 998) - 0.02) < 1e-5)
  })
})

suite('DDIMInverseScheduler, test_scheduler_ddim_inverse.py', () => {
  for (const [name, change, expected] of [
    ['test_full_loop_no_noise', {}, { sum: 671.6816, mean: 0.8746 }],
    ['…_with_set_alpha_to_one', { beta_start: 0.01 }, { sum: 539.9622, mean: 0.7031 }],
    [
      '…_with_no_set_alpha_to_one',
      { beta_start: 0.01, set_alpha_to_one: false },
      { sum: 542.6722, mean: 0.7066 },
    ],
  ] as const) {
    test(name, async () => {
      const { levels, options } = planFromConfig({ _class_name: 'DDIMScheduler', ...linear, ...change }, {})
      assertNear(await loop(planInversion(levels, options), peerSample()), expected)
    })
  }
})

suite('DDPMScheduler, test_scheduler_ddpm.py', () => {
  const config = { _class_name: 'DDPMScheduler', ...linear, variance_type: 'fixed_small', clip_sample: true }
  const v = { prediction_type: 'v_prediction' }
  for (const [name, change, expected] of [
    ['test_full_loop_no_noise', {}, { sum: 258.9606, mean: 0.3372 }],
    ['…_with_v_prediction', v, { sum: 202.0296, mean: 0.2631 }],
  ] as const) {
    test(name, async () => {
      assertNear(
        await noisyLoop(planFromConfig({ ...config, ...change }, { steps: 1000 }).plan, peerSample()),
        expected,
      )
    })
  }

  test('…_with_noise', async () => {
    const { plan, from } = startAt(planFromConfig(config, { steps: 1000 }), 998)
    const actual = await noisyLoop(plan, from)
    assertNear(actual, { mean: 0.5051 })
    // The published sum 387.9466 comes from float32 tables, in which 1 − ᾱ at t = 1 is off by 5e-4. PyTorch in float64
    // gives the value below.
    assert.ok(Math.abs(actual.sum - 387.96725) < 1e-3, `Σ|x| ${actual.sum}`)
  })

  test('test_variance', () => {
    const { rows } = planFromConfig(config, { steps: 1000 }).plan
    const variance = (t: number) => (rows.find((row) => row.t === t)!.d as number) ** 2
    assert.equal(variance(0), 0)
    assert.ok(Math.abs(variance(487) - 0.00979) < 1e-5)
    assert.ok(Math.abs(variance(999) - 0.02) < 1e-5)
  })

  test('test_custom_timesteps: each step leads to the next visited timestep', () => {
    const { rows } = planFromConfig({ ...config, timestep_spacing: 'trailing' }, { steps: 13 }).plan
    assert.deepEqual(
      rows.map(({ t }) => t),
      [999, 922, 845, 768, 691, 614, 537, 461, 384, 307, 230, 153, 76],
    )
    rows.slice(1).forEach((row, i) => {
      assert.equal(rows[i]!.alphaBarNext, row.alphaBar)
    })
  })
})

suite('DPMSolverMultistepScheduler, test_scheduler_dpm_multi.py', () => {
  const config = {
    _class_name: 'DPMSolverMultistepScheduler',
    ...linear,
    solver_order: 2,
    prediction_type: 'epsilon',
    thresholding: false,
    sample_max_value: 1.0,
    algorithm_type: 'dpmsolver++',
    solver_type: 'midpoint',
    lower_order_final: false,
    euler_at_final: false,
    lambda_min_clipped: '-Infinity',
    variance_type: null,
    final_sigmas_type: 'sigma_min',
  }
  const v = { prediction_type: 'v_prediction' }
  for (const [name, change, mean] of [
    ['test_full_loop_no_noise', {}, 0.3301],
    [
      '…_no_noise_thres',
      { thresholding: true, dynamic_thresholding_ratio: 0.87, sample_max_value: 0.5 },
      1.1364,
    ],
    ['…_with_v_prediction', v, 0.2251],
    ['…_with_karras_and_v_prediction', { ...v, use_karras_sigmas: true }, 0.2096],
    ['…_with_lu_and_v_prediction', { ...v, use_lu_lambdas: true }, 0.1554],
  ] as const) {
    test(name, async () =>
      assertNear(await loop(planFromConfig({ ...config, ...change }, {}).plan, peerSample()), { mean }),
    )
  }

  test('…_with_noise', async () => {
    assertNear(await loopFrom(planFromConfig(config, {}), 5), { sum: 318.4111, mean: 0.4146 })
  })
})

suite('UniPCMultistepScheduler, test_scheduler_unipc.py', () => {
  const config = {
    _class_name: 'UniPCMultistepScheduler',
    ...linear,
    solver_order: 2,
    solver_type: 'bh2',
    final_sigmas_type: 'sigma_min',
  }
  const v = { prediction_type: 'v_prediction' }
  for (const [name, change, mean] of [
    ['test_full_loop_no_noise', {}, 0.2464],
    ['…_with_karras', { use_karras_sigmas: true }, 0.2925],
    ['…_with_v_prediction', v, 0.1014],
    ['…_with_karras_and_v_prediction', { ...v, use_karras_sigmas: true }, 0.1966],
  ] as const) {
    test(name, async () =>
      assertNear(await loop(planFromConfig({ ...config, ...change }, {}).plan, peerSample()), { mean }),
    )
  }

  test('…_with_noise', async () => {
    assertNear(await loopFrom(planFromConfig(config, {}), 8), { sum: 315.5757, mean: 0.4109 })
  })

  suite('UniPCMultistepScheduler1DTest', () => {
    const line = peerSample(3 * 8)
    for (const [name, change, mean] of [
      ['test_full_loop_no_noise', {}, 0.2441],
      ['…_with_karras', { use_karras_sigmas: true }, 0.2898],
      ['…_with_v_prediction', v, 0.1014],
      ['…_with_karras_and_v_prediction', { ...v, use_karras_sigmas: true }, 0.1944],
    ] as const) {
      test(name, async () =>
        assertNear(await loop(planFromConfig({ ...config, ...change }, {}).plan, line), { mean }),
      )
    }

    test('…_with_noise', async () => {
      const { plan, from } = startAt(planFromConfig(config, {}), 8, line)
      assertNear(await loop(plan, from), { sum: 39.087, mean: 0.4072 })
    })
  })
})

suite('EulerDiscreteScheduler and HeunDiscreteScheduler, test_scheduler_euler.py and …_heun.py', () => {
  const base = { ...linear, num_train_timesteps: 1100 }
  const euler = { _class_name: 'EulerDiscreteScheduler', ...base }
  const heun = { _class_name: 'HeunDiscreteScheduler', ...base }
  const karras = { use_karras_sigmas: true }
  const scaled = (factor: number) => peerSample().map((value) => value * factor)
  for (const [name, config, expected] of [
    ['Euler, test_full_loop_no_noise', euler, { sum: 10.0807, mean: 0.0131 }],
    [
      'Euler, …_with_v_prediction',
      { ...euler, prediction_type: 'v_prediction' },
      { sum: 0.0002, mean: 2.2676e-6 },
    ],
    [
      'Euler, …_device_karras_sigmas',
      { ...euler, ...karras },
      { sum: 124.52299499511719, mean: 0.16213932633399963 },
    ],
    ['Heun, test_full_loop_no_noise', heun, { sum: 0.1233, mean: 0.0002 }],
    // The published values are below the tolerance, so this test only checks that the result is almost zero.
    [
      'Heun, …_with_v_prediction',
      { ...heun, prediction_type: 'v_prediction' },
      { sum: 4.6934e-7, mean: 6.1112e-10 },
    ],
    ['Heun, …_device_karras_sigmas', { ...heun, ...karras }, { sum: 0.00015, mean: 1.9869554535e-7 }],
  ] as const) {
    test(name, async () => {
      const { plan } = planFromConfig(config, {})
      assertNear(await scalingLoop(plan, scaled(plan.start)), expected)
    })
  }

  for (const [name, config, expected] of [
    ['Euler, …_with_noise', euler, { sum: 57062.9297, mean: 74.3007 }],
    ['Heun, …_with_noise', heun, { sum: 75074.8906, mean: 97.7538 }],
  ] as const) {
    test(name, async () => {
      const parsed = planFromConfig(config, {})
      const { plan, from } = startAt(parsed, 8, scaled(Math.sqrt(1 / parsed.levels[0]!.alphaBar - 1)))
      const actual = await scalingLoop(plan, from)
      assert.ok(Math.abs(actual.mean - expected.mean) < 1e-3, `mean ${actual.mean}`)
      // The published tolerance of 1e-2 is smaller than the float32 rounding error of a sum this large.
      assert.ok(Math.abs(actual.sum / expected.sum - 1) < 2e-6, `Σ|x| ${actual.sum}`)
    })
  }
})

test('plans have the initial standard deviation of diffusers', () => {
  const start = (config: object) => planFromConfig(config, {}).plan.start
  const euler = { _class_name: 'EulerDiscreteScheduler', ...linear }
  assert.equal(start({ ...euler, timestep_spacing: 'leading' }), 1)
  // σ_max/√(σ_max² + 1) of the linear schedule: √(1 − 4.0358e-5).
  assert.ok(Math.abs(start(euler) - Math.sqrt(1 - 4.035829765e-5)) < 1e-9)
  assert.equal(start({ _class_name: 'DDIMScheduler', ...linear }), 1)
})
