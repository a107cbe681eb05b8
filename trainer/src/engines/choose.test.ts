import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { defaultUNet } from '../network/config.ts'
import type { StepSpec } from '../step/spec.ts'
import { chooseEngine, type EngineRequest, formatCandidate } from './choose.ts'
import { type ProbeResult, probe } from './probe.ts'

const spec: StepSpec = {
  unet: { ...defaultUNet, baseChannels: 8, channelMultiples: [1], attention: [false], numResBlocks: 1 },
  height: 8,
  width: 8,
  batch: 1,
  adam: { beta1: 0.9, beta2: 0.999, eps: 1e-8 },
  clipNorm: null,
}

/** Simulates a machine with a graphics card and the specified step times. Candidates without a time do not work. */
function machine(times: Readonly<Record<string, number>>, adapter = 'WebGPU, NVIDIA GeForce RTX 4090') {
  const measured: string[] = []
  return {
    measured,
    hasGraphicsCard: () => true,
    async measure(candidate: Parameters<typeof formatCandidate>[0]): Promise<ProbeResult> {
      const name = formatCandidate(candidate)
      measured.push(name)
      const milliseconds = times[name]
      if (milliseconds === undefined) return { works: false, reason: 'missing' }
      return { works: true, milliseconds, description: candidate.device === 'cpu' ? 'the CPU' : adapter }
    },
  }
}
const auto: EngineRequest = { engine: 'auto', device: 'auto' }

suite('auto', () => {
  test('chooses the fastest candidate and reports the measured times', async () => {
    const times = { 'onnxruntime on webgpu': 12, 'tfjs on webgpu': 30, 'onnxruntime on cpu': 300 }
    const choice = await chooseEngine(auto, spec, {}, machine(times))
    assert.equal(formatCandidate(choice), 'onnxruntime on webgpu')
    assert.match(choice.reason!, /onnxruntime on webgpu 12 ms.*onnxruntime on cpu 300 ms/)
    const slow = await chooseEngine(
      auto,
      spec,
      {},
      machine({ ...times, 'onnxruntime on webgpu': 900, 'tfjs on webgpu': 950 }),
    )
    assert.equal(formatCandidate(slow), 'onnxruntime on cpu')
  })

  test('ignores software renderers', async () => {
    const swiftshader = machine(
      { 'onnxruntime on webgpu': 1, 'onnxruntime on cpu': 300 },
      'WebGPU, libvk_swiftshader',
    )
    const choice = await chooseEngine(auto, spec, {}, swiftshader)
    assert.equal(formatCandidate(choice), 'onnxruntime on cpu')
    assert.match(choice.reason!, /swiftshader is a software renderer, not a graphics card/)
  })

  test('measures nothing without a graphics card or with --device cpu', async () => {
    const bare = { ...machine({}), hasGraphicsCard: () => false }
    assert.equal(formatCandidate(await chooseEngine(auto, spec, {}, bare)), 'onnxruntime on cpu')
    assert.equal(
      formatCandidate(await chooseEngine({ engine: 'tfjs', device: 'auto' }, spec, {}, bare)),
      'tfjs on cpu',
    )
    assert.equal(
      formatCandidate(await chooseEngine({ engine: 'auto', device: 'cpu' }, spec, {}, bare)),
      'onnxruntime on cpu',
    )
    assert.deepEqual(bare.measured, [])
  })

  test('throws with the reasons if no engine works on the requested device', async () => {
    await assert.rejects(chooseEngine({ engine: 'auto', device: 'cuda' }, spec, {}, machine({})), {
      name: 'UserError',
      message: /Cannot train on --device cuda:\n\nonnxruntime on cuda: missing\n\ntfjs on cuda: missing/,
    })
  })
})

suite('probing in a child process', () => {
  test('measures a step of a working engine', async () => {
    const result = await probe({ engine: 'onnxruntime', device: 'cpu' }, spec, { seconds: 60 })
    assert.ok(result.works && result.milliseconds > 0, JSON.stringify(result))
  })

  test('reports what to install for a missing engine', async () => {
    const result = await probe({ engine: 'onnxruntime', device: 'cuda' }, spec, { seconds: 60 })
    if (result.works) return
    assert.match(result.reason, /npm run setup -- cuda|NVIDIA driver|no CUDA device/)
  })

  test('reports a timeout', async () => {
    const result = await probe({ engine: 'onnxruntime', device: 'cpu' }, spec, { seconds: 0.01 })
    assert.deepEqual(result, {
      works: false,
      reason: 'timeout: its training steps did not finish within 0.01 s',
    })
  })

  test('reports how the child process failed', async () => {
    const impossible = { ...spec, batch: -1 }
    const result = await probe({ engine: 'onnxruntime', device: 'cpu' }, impossible, { seconds: 60 })
    assert.ok(!result.works && result.reason.length > 0)
  })
})
