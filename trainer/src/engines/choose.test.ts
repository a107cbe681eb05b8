import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { defaultUNet } from '../network/unet.ts'
import type { StepSpec } from '../step/step.ts'
import { chooseEngine, type EngineRequest, nameOf } from './choose.ts'
import { type ProbeResult, probe } from './probe.ts'

const spec: StepSpec = {
  unet: { ...defaultUNet, baseChannels: 8, channelMultiples: [1], attention: [false], numResBlocks: 1 },
  height: 8,
  width: 8,
  batch: 1,
  adam: { beta1: 0.9, beta2: 0.999, eps: 1e-8 },
  clipNorm: null,
}

/** A machine with a graphics card, on which steps take what is given; what is left out does not work. */
function machine(times: Readonly<Record<string, number>>, adapter = 'WebGPU, NVIDIA GeForce RTX 4090') {
  const measured: string[] = []
  return {
    measured,
    hasGraphicsCard: () => true,
    async measure(candidate: Parameters<typeof nameOf>[0]): Promise<ProbeResult> {
      const name = nameOf(candidate)
      measured.push(name)
      const milliseconds = times[name]
      if (milliseconds === undefined) return { works: false, reason: 'missing' }
      return { works: true, milliseconds, description: candidate.device === 'cpu' ? 'the CPU' : adapter }
    },
  }
}
const auto: EngineRequest = { engine: 'auto', device: 'auto' }

suite('auto', () => {
  test('takes the fastest, by the step of the network itself, and says the times', async () => {
    const times = { 'onnxruntime on webgpu': 12, 'tfjs on webgpu': 30, 'onnxruntime on cpu': 300 }
    const choice = await chooseEngine(auto, spec, {}, machine(times))
    assert.equal(nameOf(choice), 'onnxruntime on webgpu')
    assert.match(choice.reason!, /onnxruntime on webgpu 12 ms.*onnxruntime on cpu 300 ms/)
    const slow = await chooseEngine(
      auto,
      spec,
      {},
      machine({ ...times, 'onnxruntime on webgpu': 900, 'tfjs on webgpu': 950 }),
    )
    assert.equal(nameOf(slow), 'onnxruntime on cpu')
  })

  test('software that acts as a graphics card is none', async () => {
    const swiftshader = machine(
      { 'onnxruntime on webgpu': 1, 'onnxruntime on cpu': 300 },
      'WebGPU, libvk_swiftshader',
    )
    const choice = await chooseEngine(auto, spec, {}, swiftshader)
    assert.equal(nameOf(choice), 'onnxruntime on cpu')
    assert.match(choice.reason!, /swiftshader is no graphics card/)
  })

  test('does not look for what cannot be', async () => {
    const bare = { ...machine({}), hasGraphicsCard: () => false }
    assert.equal(nameOf(await chooseEngine(auto, spec, {}, bare)), 'onnxruntime on cpu')
    assert.equal(
      nameOf(await chooseEngine({ engine: 'tfjs', device: 'auto' }, spec, {}, bare)),
      'tfjs on cpu',
    )
    assert.equal(
      nameOf(await chooseEngine({ engine: 'auto', device: 'cpu' }, spec, {}, bare)),
      'onnxruntime on cpu',
    )
    assert.deepEqual(bare.measured, [])
  })

  test('a device that was asked for and works with no engine is an error with the reasons', async () => {
    await assert.rejects(chooseEngine({ engine: 'auto', device: 'cuda' }, spec, {}, machine({})), {
      name: 'UserError',
      message: /Nothing computes on cuda here:\n {2}onnxruntime on cuda: missing\n {2}tfjs on cuda: missing/,
    })
  })
})

suite('probing in a process of its own', () => {
  test('a step that works is measured', async () => {
    const finding = await probe({ engine: 'onnxruntime', device: 'cpu' }, spec, { seconds: 60 })
    assert.ok(finding.works && finding.milliseconds > 0, JSON.stringify(finding))
  })

  test('what is missing is said as its user would read it', async () => {
    const finding = await probe({ engine: 'onnxruntime', device: 'cuda' }, spec, { seconds: 60 })
    if (finding.works) return
    assert.match(finding.reason, /onnxruntime-node-install=cuda12/)
  })

  test('no answer in time is an answer', async () => {
    const finding = await probe({ engine: 'onnxruntime', device: 'cpu' }, spec, { seconds: 0.01 })
    assert.deepEqual(finding, { works: false, reason: 'it did not do a few steps within 0.01 s' })
  })

  test('a process that ends without an answer is named with how it ended', async () => {
    const impossible = { ...spec, batch: -1 }
    const finding = await probe({ engine: 'onnxruntime', device: 'cpu' }, impossible, { seconds: 60 })
    assert.ok(!finding.works && finding.reason.length > 0)
  })
})
