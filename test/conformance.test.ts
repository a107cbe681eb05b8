import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { createSchedule, domains, fillNormals, paperSchedule, uniforms } from '@ddpm/shared'
import { memory } from '@tensorflow/tfjs-core'
import { candidates, formatCandidate } from '../trainer/src/engines/choose.ts'
import { openEngine } from '../trainer/src/engines/open.ts'
import { type ProbeResult, probe } from '../trainer/src/engines/probe.ts'
import { isSoftware } from '../trainer/src/engines/vulkan.ts'
import { defaultUNet } from '../trainer/src/network/config.ts'
import {
  createParameterLayout,
  createTables,
  flatten,
  initialize,
  unflatten,
} from '../trainer/src/network/parameters.ts'
import { dropoutLayout, parameterSpecs } from '../trainer/src/network/unet.ts'
import { createVariationalTable } from '../trainer/src/objective/variational.ts'
import { readCheckpoint, saveCheckpoint } from '../trainer/src/run/checkpoint.ts'
import {
  type Batch,
  type Candidate,
  type Engine,
  initialState,
  type TrainingState,
} from '../trainer/src/step/engine.ts'
import { type StepScalars, stateNames, stepScalars } from '../trainer/src/step/optimizer.ts'
import type { StepSpec } from '../trainer/src/step/spec.ts'
import { microBatches } from '../trainer/src/training/batches.ts'
import { emaDecayAt } from '../trainer/src/training/loop.ts'
import { type Reference, readReference } from './support/reference.ts'

const adam = { beta1: 0.9, beta2: 0.999, eps: 1e-8 }
/** A step with all features: classes, dropout, attention, two levels, downsampling, clipping. */
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
  // Adam divides by √v + ε. With a small ε, a gradient that is zero up to rounding would change its parameter by a full
  // learning rate.
  adam: { ...adam, eps: 1e-4 },
  clipNorm: 0.5,
}
/** A small step for probing whether an engine works. */
const probeSpec: StepSpec = {
  ...spec,
  unet: { ...spec.unet, channelMultiples: [1], attention: [false], dropout: 0, classes: 0 },
}
const layout = createParameterLayout(parameterSpecs(spec.unet))
const tables = createTables(layout)
const masks = dropoutLayout(spec.unet, spec)
const maskSize = masks.size
const schedule = createSchedule({ ...paperSchedule, timesteps: spec.unet.timesteps })

// The probes must finish before any test or hook is registered: the test runner ends tests that are registered while a
// module waits.
const probeResults = new Map<Candidate, ProbeResult>()
for (const candidate of candidates)
  probeResults.set(candidate, await probe(candidate, probeSpec, { seconds: 60 }))

const folder = mkdtempSync(join(tmpdir(), 'ddpm-conformance-'))
after(() => rmSync(folder, { recursive: true }))

function startState(): TrainingState {
  return initialState(initialize(layout, 1))
}

/** Returns the batch of step 0, 1, … with `count` images. */
function batchAt(step: number, count = spec.batch): Batch {
  const elements = count * spec.height * spec.width
  const uniform = (domain: number, length: number) =>
    Float32Array.from(uniforms(3, { domain, image: 0, step }, length))
  const normal = (image: number) => {
    const values = new Float32Array(elements)
    fillNormals(3, { domain: domains.trainingNoise, image, step }, values)
    return values
  }
  const timestep = uniform(domains.trainingTimestep, count).map((u) => Math.floor(u * spec.unet.timesteps))
  return {
    x0: normal(0).map(Math.tanh),
    noise: normal(1),
    timestep,
    label: uniform(domains.labelDropout, count).map((u) => Math.floor(u * (spec.unet.classes + 1))),
    coefficients: coefficientsOf(timestep, schedule.alphasCumprod),
    dropout: uniform(domains.dropout, count * maskSize).map((u) => (u < 0.25 ? 0 : 4 / 3)),
  }
}

/** Coefficients of L_simple: the prediction target is ε, all weights are 1. */
function coefficientsOf(timestep: Float32Array, alphasCumprod: Float64Array): Float32Array {
  return Float32Array.from(
    [...timestep].flatMap((t) => [Math.sqrt(alphasCumprod[t]!), Math.sqrt(1 - alphasCumprod[t]!), 0, 1, 1]),
  )
}

/** AdamW with a decreasing learning rate. */
function optionsAt(step: number) {
  return { learningRate: 2e-3 / (1 + step / 10), weightDecay: 0.01, emaDecay: 0.9 }
}

/** Returns the optimizer's scalars of step 0, 1, …. */
function scalarsAt(step: number, options = optionsAt(step)): StepScalars<number> {
  return stepScalars(adam, { step: step + 1, ...options })
}

/** Runs steps and returns their losses. */
async function runSteps(engine: Engine, from: number, to: number): Promise<number[]> {
  const losses: number[] = []
  for (let step = from; step < to; step++)
    losses.push((await engine.step([batchAt(step)], scalarsAt(step))).loss)
  return losses
}

async function copyState(engine: Engine): Promise<TrainingState> {
  return structuredClone(await engine.state())
}

/** Euclidean norm. */
function length(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0))
}

function minus(a: ArrayLike<number>, b: ArrayLike<number>): number[] {
  return Array.from(a, (value, i) => value - b[i]!)
}

/** Asserts that the relative error ‖actual − expected‖ / ‖expected‖ is at most `bound`. */
function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: number,
  what: string,
): void {
  const error = length(minus(actual, expected)) / length(expected)
  assert.ok(error <= bound, `${what}: relative error ${error}, expected at most ${bound}`)
}

/** Asserts that weights, moments and EMA have changed by the same amount since the start. */
function assertStatesClose(actual: TrainingState, expected: TrainingState, what: string): void {
  const start = startState()
  for (const part of stateNames)
    assertClose(
      minus(actual[part], start[part]),
      minus(expected[part], start[part]),
      1e-3,
      `${what}, ${part}`,
    )
}

const totalSteps = 20

/** Saves a checkpoint after `step` steps and returns its path. */
async function save(engine: Engine, step: number): Promise<string> {
  const progress = { step, seconds: 1, loss: null, validationLoss: null }
  return saveCheckpoint(mkdtempSync(join(folder, 'run-')), layout, {
    progress,
    state: await engine.state(),
    tables,
  })
}

/** Resumes from a checkpoint and trains to the last step. */
async function resume(path: string, candidate: Candidate): Promise<TrainingState> {
  const { progress, tables, state } = readCheckpoint(path, layout)
  const engine = await openEngine(candidate, spec, tables, state, { threads: 1 })
  await runSteps(engine, progress.step, totalSteps)
  const end = await copyState(engine)
  await engine.dispose()
  return end
}

/** The engine with which all other engines are compared. */
const referenceEngine: Candidate = { engine: 'onnxruntime', device: 'cpu' }
/** Losses of all steps of the reference engine, its final state, and a checkpoint of step 15. */
const referenceRun = (async () => {
  const engine = await openEngine(referenceEngine, spec, tables, startState(), { threads: 1 })
  const losses = await runSteps(engine, 0, 15)
  const checkpoint = await save(engine, 15)
  losses.push(...(await runSteps(engine, 15, totalSteps)))
  const state = await copyState(engine)
  await engine.dispose()
  return { losses, state, checkpoint }
})()

/** Returns the gradient of the first step from the first moment, which was zero before. */
function gradientOf({ firstMoment }: TrainingState): Float32Array {
  return firstMoment.map((value) => value / (1 - adam.beta1))
}

for (const [candidate, probeResult] of probeResults) {
  const open = (changes: Partial<StepSpec> = {}, state = startState()) =>
    openEngine(candidate, { ...spec, ...changes }, tables, state, { threads: 1 })
  /** Runs the first step on a new engine. */
  const oneStep = async (batch: Batch, changes: Partial<StepSpec> = {}) => {
    const engine = await open(changes)
    const result = await engine.step([batch], scalarsAt(0))
    const state = await copyState(engine)
    await engine.dispose()
    return { ...result, state }
  }

  const { engine: name, device } = candidate
  const missing = !probeResult.works && probeResult.reason.split('\n')[0]!
  // Software renderers need minutes for all tests. The test with twenty steps covers nearly everything.
  const slow =
    !process.env['DDPM_SLOW_TESTS'] &&
    probeResult.works &&
    isSoftware(probeResult.description) &&
    'software renderer: only the test with twenty steps runs, unless DDPM_SLOW_TESTS is set'

  suite(formatCandidate(candidate), { skip: missing }, () => {
    for (const size of ['gray16', 'rgb16', 'published8', 'hybrid8'] as const) {
      const reference = readReference(size)
      const large =
        size === 'rgb16' && name === 'tfjs' && device === 'cpu' && 'needs minutes in plain JavaScript'
      const absent = !reference && 'its files are missing: set DDPM_REFERENCE to their folder'
      const skip = slow || absent || large
      test(`equals PyTorch for ${size}: epsilon, loss, gradients, five steps of Adam`, { skip }, () =>
        compareWithPyTorch(reference!, candidate),
      )
    }

    test('20 steps equal those of onnxruntime on the CPU, also if that engine resumes from step 5', async () => {
      const { losses: expected, state } = await referenceRun
      const engine = await open()
      const losses = await runSteps(engine, 0, 5)
      const checkpoint = await save(engine, 5)
      losses.push(...(await runSteps(engine, 5, totalSteps)))
      assertClose(losses, expected, 1e-4, 'the losses')
      assertStatesClose(await engine.state(), state, `after ${totalSteps} steps`)
      await engine.dispose()
      assertStatesClose(
        await resume(checkpoint, referenceEngine),
        state,
        `from step 5 with ${formatCandidate(referenceEngine)}`,
      )
    })

    test('resumes from a checkpoint of onnxruntime on the CPU', { skip: slow }, async () => {
      const { checkpoint, state } = await referenceRun
      assertStatesClose(await resume(checkpoint, candidate), state, 'from step 15')
    })

    if (name === 'tfjs') {
      test('a step leaks no tensors', { skip: slow }, async () => {
        const engine = await open()
        const allocations = async () => {
          const { x0, timestep, label } = batchAt(0)
          await engine.predict('ema', x0, timestep, label)
          await engine.state()
          const { numTensors, numBytes } = memory()
          return { numTensors, numBytes }
        }
        await runSteps(engine, 0, 1)
        const before = await allocations()
        await runSteps(engine, 1, 3)
        assert.deepEqual(await allocations(), before)
        await engine.dispose()
      })
    }

    test('gradient clipping, weight decay and EMA follow their equations', {
      skip: slow,
    }, async () => {
      const before = startState()
      const batch = batchAt(0)
      const unclipped = await oneStep(batch, { clipNorm: null })
      const gradient = gradientOf(unclipped.state)
      assertClose([length(gradient)], [unclipped.gradientNorm], 1e-5, 'the norm of the gradient')
      assert.ok(unclipped.gradientNorm > spec.clipNorm!, `no clipping at a norm of ${unclipped.gradientNorm}`)

      const { state, gradientNorm } = await oneStep(batch)
      assertClose([gradientNorm], [unclipped.gradientNorm], 1e-6, 'the norm before clipping')
      const clipped = gradient.map((value) => (value * spec.clipNorm!) / gradientNorm)
      assertClose(gradientOf(state), clipped, 1e-5, 'the clipped gradient')
      assertClose(
        state.secondMoment,
        clipped.map((value) => (1 - adam.beta2) * value ** 2),
        1e-5,
        'the second moment',
      )
      // At step 1, the bias corrections cancel the decays: m̂ = g and v̂ = g².
      const { learningRate, weightDecay, emaDecay } = optionsAt(0)
      const updated = clipped.map(
        (g, i) =>
          before.parameters[i]! * (1 - learningRate * weightDecay) -
          (learningRate * g) / (Math.abs(g) + spec.adam.eps),
      )
      assertClose(
        minus(state.parameters, before.parameters),
        minus(updated, before.parameters),
        1e-3,
        'the step',
      )
      const averaged = updated.map((value, i) => emaDecay * before.ema[i]! + (1 - emaDecay) * value)
      assertClose(minus(state.ema, before.ema), minus(averaged, before.ema), 1e-3, 'the average')
    })

    test('a step split into micro-batches is the same step up to rounding', { skip: slow }, async () => {
      const train = async (accumulate: number) => {
        const engine = await open({ batch: 4 / accumulate, accumulate })
        const reports: number[] = []
        for (const step of [0, 1]) {
          const batches = microBatches(batchAt(step, 4), accumulate)
          const { loss, gradientNorm } = await engine.step(batches, scalarsAt(step))
          reports.push(loss, gradientNorm)
        }
        const state = await copyState(engine)
        await engine.dispose()
        return { reports, state }
      }
      const whole = await train(1)
      const split = await train(2)
      assertClose(split.reports, whole.reports, 1e-5, 'losses and norms')
      assertStatesClose(split.state, whole.state, 'after two steps')
    })

    test('a dropped channel has no gradient, and the other channels have one', { skip: slow }, async () => {
      const batch = batchAt(0)
      const engine = await open({ clipNorm: null })
      await engine.step(
        [{ ...batch, dropout: batch.dropout!.map((_, i) => (i % maskSize === 0 ? 0 : 1)) }],
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

    test('a step that is not finite leaves the state unchanged', { skip: slow }, async () => {
      const engine = await open()
      await runSteps(engine, 0, 1)
      const before = await copyState(engine)
      const batch = batchAt(1)
      batch.noise[5] = Number.POSITIVE_INFINITY
      const { finite } = await engine.step([batch], scalarsAt(1))
      assert.equal(finite, false)
      assert.deepEqual(await engine.state(), before)
      await engine.dispose()
    })
  })
}

async function compareWithPyTorch(
  { config, weights, case: tensors, optimizer }: Reference,
  candidate: Candidate,
): Promise<void> {
  const tensor = (key: string) => {
    const value = tensors.get(key)
    assert.ok(value, key)
    return value
  }
  const [batch, , height, width] = tensor('x0').shape as [number, number, number, number]
  const { weightDecay, clipNorm } = optimizer
  const schedule = createSchedule(paperSchedule)
  const variational =
    config.outputChannels === config.inputChannels ? null : createVariationalTable(schedule, 'epsilon')
  const spec: StepSpec = {
    unet: config,
    batch,
    height,
    width,
    adam,
    clipNorm,
    ...(variational && { variational }),
  }
  const layout = createParameterLayout(parameterSpecs(config))
  const parameters = flatten(layout, weights, 'the reference')
  const timestep = tensor('timestep').data
  const referenceBatch: Batch = {
    x0: tensor('x0').data,
    noise: tensor('noise').data,
    timestep,
    label: null,
    coefficients: coefficientsOf(timestep, schedule.alphasCumprod),
    dropout: tensors.get('dropout')?.data ?? null,
  }
  const state = initialState(parameters.slice())
  const engine = await openEngine(candidate, spec, createTables(layout, weights), state)
  const output = await engine.predict('raw', tensor('xt').data, timestep, null)
  assertClose(output, tensor('epsilon').data, 1e-5, 'epsilon')

  const losses = new Float32Array(5)
  for (let step = 0; step < 5; step++) {
    const options = { learningRate: 2e-3, weightDecay, emaDecay: emaDecayAt({ emaDecay: 0.999 }, step) }
    const { loss, gradientNorm } = await engine.step([referenceBatch], scalarsAt(step, options))
    losses[step] = loss
    if (step > 0) continue
    const clipped = clipNorm === null ? 1 : clipNorm / gradientNorm
    const gradient = gradientOf(await engine.state()).map((value) => value / clipped)
    for (const [name, { data }] of unflatten(layout, gradient)) {
      const expected = tensor(`grad.${name}`).data
      const error = length(minus(data, expected))
      const bound = 1e-4 * Math.max(length(expected), 1e-3 * length(gradient))
      assert.ok(error <= bound, `grad.${name}: error ${error}, expected at most ${bound}`)
    }
  }
  assertClose(losses.subarray(0, 1), tensor('loss').data, 1e-5, 'the loss')
  assertClose(losses, tensor('adam5_losses').data, 1e-4, 'the losses')

  const actual = await engine.state()
  for (const [part, prefix] of [
    ['parameters', 'adam5'],
    ['ema', 'ema5'],
  ] as const) {
    if (![...tensors.keys()].some((key) => key.startsWith(prefix))) continue
    const named = layout.entries.map(({ name }) => [name, tensor(`${prefix}.${name}`)] as const)
    const expected = flatten(layout, new Map(named), 'the reference after five steps')
    assertClose(
      minus(actual[part], parameters),
      minus(expected, parameters),
      1e-2,
      `the change of the ${part}`,
    )
  }
  await engine.dispose()
}
