import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { createSchedule, domains, normals, paperSchedule, uniforms } from '@ddpm/shared'
import { memory } from '@tensorflow/tfjs-core'
import { type Reference, readReference } from '../../../test/support/reference.ts'
import { flatten, initialize, layoutOf, tablesOf, unflatten } from '../network/parameters.ts'
import { defaultUNet, dropoutLayout, parameterSpecs } from '../network/unet.ts'
import { variationalTable } from '../objective/variational.ts'
import { readCheckpoint, saveCheckpoint } from '../run/checkpoint.ts'
import type { Batch, Candidate, Engine, TrainingState } from '../step/engine.ts'
import { initialState } from '../step/engine.ts'
import { stepScalarNames, stepScalars } from '../step/optimizer.ts'
import { type StepSpec, stateNames } from '../step/step.ts'
import { microBatches } from '../training/batches.ts'
import { emaDecayAt } from '../training/loop.ts'
import { candidates, nameOf } from './choose.ts'
import { openEngine } from './open.ts'
import { type ProbeResult, probe } from './probe.ts'
import { isSoftware } from './vulkan.ts'

const adam = { beta1: 0.9, beta2: 0.999, eps: 1e-8 }
/** Everything that a step can have: classes, dropout, attention, halving, two levels, clipping. */
const spec: StepSpec = {
  unet: {
    ...defaultUNet,
    inputChannels: 1,
    outputChannels: 1,
    baseChannels: 8,
    numResBlocks: 1,
    channelMultiples: [1, 2],
    attention: [false, true],
    dropout: 0.25,
    timesteps: 100,
    classes: 2,
  },
  height: 8,
  width: 8,
  batch: 2,
  // Adam divides by √v: what only rounding tells from zero would move by a whole step. This ε keeps it still.
  adam: { ...adam, eps: 1e-4 },
  clipNorm: 0.5,
}
/** For the question whether an engine works at all. */
const smallest: StepSpec = {
  ...spec,
  unet: { ...spec.unet, channelMultiples: [1], attention: [false], dropout: 0, classes: 0 },
}
const layout = layoutOf(parameterSpecs(spec.unet))
const tables = tablesOf(layout)
const masks = dropoutLayout(spec.unet, spec)
const maskWidth = masks.size
const schedule = createSchedule({ ...paperSchedule, timesteps: spec.unet.timesteps })

// Before any test or hook is known: the runner ends what is registered while it waits for a module.
const findings = new Map<Candidate, ProbeResult>()
for (const candidate of candidates) findings.set(candidate, await probe(candidate, smallest, { seconds: 60 }))

const folder = mkdtempSync(join(tmpdir(), 'ddpm-conformance-'))
after(() => rmSync(folder, { recursive: true }))

function beginning(): TrainingState {
  return initialState(initialize(layout, 1))
}

/** The batch of step 0, 1, …, of as many pictures as `count`. */
function batchAt(step: number, count = spec.batch): Batch {
  const elements = count * spec.height * spec.width
  const drawn = (domain: number, length: number) =>
    Float32Array.from(uniforms(3, { domain, image: 0, step }, length))
  const normal = (image: number) => {
    const values = new Float32Array(elements)
    normals(3, { domain: domains.trainingNoise, image, step }, values)
    return values
  }
  const timestep = drawn(domains.trainingTimestep, count).map((u) => Math.floor(u * spec.unet.timesteps))
  return {
    x0: normal(0).map(Math.tanh),
    noise: normal(1),
    timestep,
    label: drawn(domains.labelDropout, count).map((u) => Math.floor(u * (spec.unet.classes + 1))),
    coefficients: coefficientsOf(timestep, schedule.alphasCumprod),
    dropout: drawn(domains.dropout, count * maskWidth).map((u) => (u < 0.25 ? 0 : 4 / 3)),
  }
}

/** The plain objective: x_t and ε, every picture weighing as much. */
function coefficientsOf(timestep: Float32Array, alphasCumprod: Float64Array): Float32Array {
  return Float32Array.from(
    [...timestep].flatMap((t) => [Math.sqrt(alphasCumprod[t]!), Math.sqrt(1 - alphasCumprod[t]!), 0, 1, 1]),
  )
}

/** AdamW at a falling rate. */
function optionsAt(step: number) {
  return { learningRate: 2e-3 / (1 + step / 10), weightDecay: 0.01, emaDecay: 0.9 }
}

/** The scalars of step 0, 1, … */
function scalarsAt(step: number, options = optionsAt(step)): Float32Array {
  const scalars = stepScalars(adam, { step: step + 1, ...options })
  return Float32Array.from(stepScalarNames, (name) => scalars[name])
}

async function steps(engine: Engine, from: number, to: number): Promise<number[]> {
  const losses: number[] = []
  for (let step = from; step < to; step++)
    losses.push((await engine.step([batchAt(step)], scalarsAt(step))).loss)
  return losses
}

async function copyOf(engine: Engine): Promise<TrainingState> {
  return structuredClone(await engine.state())
}

function length(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0))
}

function minus(a: ArrayLike<number>, b: ArrayLike<number>): number[] {
  return Array.from(a, (value, i) => value - b[i]!)
}

/** The same vector, but for a part of its length. */
function agree(found: ArrayLike<number>, wanted: ArrayLike<number>, bound: number, what: string): void {
  const error = length(minus(found, wanted)) / length(wanted)
  assert.ok(error <= bound, `${what}: differs by ${error}, not ${bound}`)
}

/** The same way from the beginning: of weights, moments and average. */
function statesAgree(found: TrainingState, wanted: TrainingState, what: string): void {
  const from = beginning()
  for (const part of stateNames)
    agree(minus(found[part], from[part]), minus(wanted[part], from[part]), 1e-3, `${what}, ${part}`)
}

const total = 20

/** A checkpoint of the state after so many steps, as another engine finds it. */
async function save(engine: Engine, step: number): Promise<string> {
  const progress = { step, seconds: 1, loss: null, validationLoss: null }
  return saveCheckpoint(mkdtempSync(join(folder, 'run-')), layout, {
    progress,
    state: await engine.state(),
    tables,
  })
}

/** Goes on from a checkpoint to the last step. */
async function resume(path: string, candidate: Candidate): Promise<TrainingState> {
  const { progress, tables, state } = readCheckpoint(path, layout)
  const engine = await openEngine(candidate, spec, tables, state, { threads: 1 })
  await steps(engine, progress.step, total)
  const end = await copyOf(engine)
  await engine.dispose()
  return end
}

/** What every engine is measured by: the losses of all steps, the state after them, and a checkpoint before the end. */
const yardstick: Candidate = { engine: 'onnxruntime', device: 'cpu' }
const expected = (async () => {
  const engine = await openEngine(yardstick, spec, tables, beginning(), { threads: 1 })
  const losses = await steps(engine, 0, 15)
  const checkpoint = await save(engine, 15)
  losses.push(...(await steps(engine, 15, total)))
  const state = await copyOf(engine)
  await engine.dispose()
  return { losses, state, checkpoint }
})()

/** The gradient of the first step: Adam's first moment was zero before it. */
function gradientOf({ firstMoment }: TrainingState): Float32Array {
  return firstMoment.map((value) => value / (1 - adam.beta1))
}

for (const [candidate, finding] of findings) {
  const open = (changes: Partial<StepSpec> = {}, state = beginning()) =>
    openEngine(candidate, { ...spec, ...changes }, tables, state, { threads: 1 })
  /** One step from the beginning, on an engine of its own. */
  const oneStep = async (batch: Batch, changes: Partial<StepSpec> = {}) => {
    const engine = await open(changes)
    const result = await engine.step([batch], scalarsAt(0))
    const state = await copyOf(engine)
    await engine.dispose()
    return { ...result, state }
  }

  const { engine: name, device } = candidate
  const missing = !finding.works && finding.reason.split('\n')[0]!
  // A graphics card played by software takes minutes for all; twenty steps have nearly everything in them.
  const slow =
    !process.env['DDPM_SLOW_TESTS'] &&
    finding.works &&
    isSoftware(finding.description) &&
    'a graphics card in software: only the twenty steps, unless DDPM_SLOW_TESTS is set'

  suite(nameOf(candidate), { skip: missing }, () => {
    for (const size of ['gray16', 'rgb16', 'published8', 'hybrid8'] as const) {
      const reference = readReference(size)
      const large =
        size === 'rgb16' && name === 'tfjs' && device === 'cpu' && 'takes minutes in plain JavaScript'
      const absent = !reference && 'its files are not here; DDPM_REFERENCE may name their folder'
      const skip = slow || absent || large
      test(`PyTorch's ${size}: epsilon, loss, gradients, five steps of Adam`, { skip }, () =>
        agreesWithPyTorch(reference!, candidate),
      )
    }

    test('20 steps end where those of onnxruntime on the CPU do, also when it takes over on the way', async () => {
      const { losses: wanted, state } = await expected
      const engine = await open()
      const losses = await steps(engine, 0, 5)
      const checkpoint = await save(engine, 5)
      losses.push(...(await steps(engine, 5, total)))
      agree(losses, wanted, 1e-4, 'the losses')
      statesAgree(await engine.state(), state, `after ${total} steps`)
      await engine.dispose()
      statesAgree(await resume(checkpoint, yardstick), state, `from step 5 with ${nameOf(yardstick)}`)
    })

    test('goes on from a checkpoint of onnxruntime on the CPU', { skip: slow }, async () => {
      const { checkpoint, state } = await expected
      statesAgree(await resume(checkpoint, candidate), state, 'from step 15')
    })

    if (name === 'tfjs') {
      test('no memory is left behind from step to step', { skip: slow }, async () => {
        const engine = await open()
        const held = async () => {
          const { x0, timestep, label } = batchAt(0)
          await engine.predict('ema', x0, timestep, label)
          await engine.state()
          const { numTensors, numBytes } = memory()
          return { numTensors, numBytes }
        }
        await steps(engine, 0, 1)
        const before = await held()
        await steps(engine, 1, 3)
        assert.deepEqual(await held(), before)
        await engine.dispose()
      })
    }

    test('clipping bounds the gradient, weights decay, the average follows: as the equations have them', {
      skip: slow,
    }, async () => {
      const before = beginning()
      const batch = batchAt(0)
      const free = await oneStep(batch, { clipNorm: null })
      const gradient = gradientOf(free.state)
      agree([length(gradient)], [free.gradientNorm], 1e-5, 'the norm of the gradient')
      assert.ok(free.gradientNorm > spec.clipNorm!, `nothing to clip at ${free.gradientNorm}`)

      const { state, gradientNorm } = await oneStep(batch)
      agree([gradientNorm], [free.gradientNorm], 1e-6, 'the norm before clipping')
      const clipped = gradient.map((value) => (value * spec.clipNorm!) / gradientNorm)
      agree(gradientOf(state), clipped, 1e-5, 'the clipped gradient')
      agree(
        state.secondMoment,
        clipped.map((value) => (1 - adam.beta2) * value ** 2),
        1e-5,
        'the second moment',
      )
      // At step 1 both corrections undo both decays: m̂ = g and v̂ = g².
      const { learningRate, weightDecay, emaDecay } = optionsAt(0)
      const moved = clipped.map(
        (g, i) =>
          before.parameters[i]! * (1 - learningRate * weightDecay) -
          (learningRate * g) / (Math.abs(g) + spec.adam.eps),
      )
      agree(minus(state.parameters, before.parameters), minus(moved, before.parameters), 1e-3, 'the step')
      const averaged = moved.map((value, i) => emaDecay * before.ema[i]! + (1 - emaDecay) * value)
      agree(minus(state.ema, before.ema), minus(averaged, before.ema), 1e-3, 'the average')
    })

    test('a step cut into micro-batches is the same step, but for rounding', { skip: slow }, async () => {
      const runOf = async (accumulate: number) => {
        const engine = await open({ batch: 4 / accumulate, accumulate })
        const reports: number[] = []
        for (const step of [0, 1]) {
          const batches = microBatches(batchAt(step, 4), accumulate)
          const { loss, gradientNorm } = await engine.step(batches, scalarsAt(step))
          reports.push(loss, gradientNorm)
        }
        const state = await copyOf(engine)
        await engine.dispose()
        return { reports, state }
      }
      const whole = await runOf(1)
      const cut = await runOf(2)
      agree(cut.reports, whole.reports, 1e-5, 'losses and norms')
      statesAgree(cut.state, whole.state, 'after two steps')
    })

    test('a dropped channel has no gradient, and the mask scales the others', { skip: slow }, async () => {
      const batch = batchAt(0)
      const engine = await open({ clipNorm: null })
      await engine.step(
        [{ ...batch, dropout: batch.dropout!.map((_, i) => (i % maskWidth === 0 ? 0 : 1)) }],
        scalarsAt(0),
      )
      const gradient = unflatten(layout, gradientOf(await engine.state()))
      await engine.dispose()
      const { data, shape } = gradient.get(`${[...masks.blocks.keys()][0]}.conv_2.weight`)!
      const [outputs, inputs, ...kernel] = shape as [number, number, number, number]
      const taps = kernel[0]! * kernel[1]!
      const ofChannel = (channel: number) =>
        Array.from({ length: outputs * taps }, (_, i) => {
          const [output, tap] = [Math.floor(i / taps), i % taps]
          return data[(output * inputs + channel) * taps + tap]!
        })
      assert.ok(ofChannel(0).every((value) => value === 0))
      assert.ok(ofChannel(1).every((value) => value !== 0))
    })

    test('a step that is not finite leaves the state as it was', { skip: slow }, async () => {
      const engine = await open()
      await steps(engine, 0, 1)
      const before = await copyOf(engine)
      const batch = batchAt(1)
      batch.noise[5] = Number.POSITIVE_INFINITY
      const { finite } = await engine.step([batch], scalarsAt(1))
      assert.equal(finite, false)
      assert.deepEqual(await engine.state(), before)
      await engine.dispose()
    })
  })
}

async function agreesWithPyTorch(
  { config, weights, case: known, optimizer }: Reference,
  candidate: Candidate,
): Promise<void> {
  const tensor = (key: string) => {
    const found = known.get(key)
    assert.ok(found, key)
    return found
  }
  const [batch, , height, width] = tensor('x0').shape as [number, number, number, number]
  const { weightDecay, clipNorm } = optimizer
  const schedule = createSchedule(paperSchedule)
  const variational =
    config.outputChannels === config.inputChannels ? null : variationalTable(schedule, 'epsilon')
  const spec: StepSpec = {
    unet: config,
    batch,
    height,
    width,
    adam,
    clipNorm,
    ...(variational && { variational }),
  }
  const layout = layoutOf(parameterSpecs(config))
  const parameters = flatten(layout, weights, 'the reference')
  const timestep = tensor('timestep').data
  const given: Batch = {
    x0: tensor('x0').data,
    noise: tensor('noise').data,
    timestep,
    label: null,
    coefficients: coefficientsOf(timestep, schedule.alphasCumprod),
    dropout: known.get('dropout')?.data ?? null,
  }
  const state = initialState(parameters.slice())
  const engine = await openEngine(candidate, spec, tablesOf(layout, weights), state)
  const output = await engine.predict('raw', tensor('xt').data, timestep, null)
  agree(output, tensor('epsilon').data, 1e-5, 'epsilon')

  const losses = new Float32Array(5)
  for (let step = 0; step < 5; step++) {
    const options = { learningRate: 2e-3, weightDecay, emaDecay: emaDecayAt({ emaDecay: 0.999 }, step) }
    const { loss, gradientNorm } = await engine.step([given], scalarsAt(step, options))
    losses[step] = loss
    if (step > 0) continue
    const clipped = clipNorm === null ? 1 : clipNorm / gradientNorm
    const gradient = gradientOf(await engine.state()).map((value) => value / clipped)
    for (const [name, { data }] of unflatten(layout, gradient)) {
      const wanted = tensor(`grad.${name}`).data
      const error = length(minus(data, wanted))
      const bound = 1e-4 * Math.max(length(wanted), 1e-3 * length(gradient))
      assert.ok(error <= bound, `grad.${name} differs by ${error}, not ${bound}`)
    }
  }
  agree(losses.subarray(0, 1), tensor('loss').data, 1e-5, 'the loss')
  agree(losses, tensor('adam5_losses').data, 1e-4, 'the losses')

  const found = await engine.state()
  for (const [part, prefix] of [
    ['parameters', 'adam5'],
    ['ema', 'ema5'],
  ] as const) {
    if (![...known.keys()].some((key) => key.startsWith(prefix))) continue
    const named = layout.entries.map(({ name }) => [name, tensor(`${prefix}.${name}`)] as const)
    const wanted = flatten(layout, new Map(named), 'the reference after five steps')
    agree(minus(found[part], parameters), minus(wanted, parameters), 1e-2, `the way of the ${part}`)
  }
  await engine.dispose()
}
