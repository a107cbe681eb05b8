import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createSchedule, paperSchedule } from '@ddpm/shared'
import { createShapes } from '../data/shapes/dataset.ts'
import { defaultUNet } from '../network/config.ts'
import { createParameterLayout, createTables, initialize, unflatten } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import { recipes } from '../run/recipes.ts'
import { type Batch, initialState } from '../step/engine.ts'
import type { StepSpec } from '../step/spec.ts'
import { createBatchMaker } from './batches.ts'
import { diagnose } from './diagnosis.ts'

const dataset = createShapes(8, 0)
const spec: StepSpec = {
  unet: {
    ...defaultUNet,
    baseChannels: 8,
    numResBlocks: 1,
    channelMultiples: [1, 2],
    attention: [false, true],
    zeroInit: false,
    dropout: 0,
    classes: dataset.classes.length,
  },
  height: 32,
  width: 32,
  batch: 2,
  adam: { beta1: 0.9, beta2: 0.999, eps: 1e-8 },
  clipNorm: 1,
}
const layout = createParameterLayout(parameterSpecs(spec.unet))
const tables = createTables(layout)

/** Runs the diagnosis on a step after `corrupt` has changed its weights or batch. */
function diagnoseCorrupted(
  corrupt: (weights: Map<string, Float32Array>, batch: Batch) => void,
): Promise<string> {
  const state = initialState(initialize(layout, 0))
  const options = { ...recipes['shapes']!, batchSize: 2 }
  const batch = createBatchMaker(dataset, createSchedule(paperSchedule), spec.unet, options)(0)
  corrupt(new Map([...unflatten(layout, state.parameters)].map(([name, { data }]) => [name, data])), batch)
  return diagnose(spec, tables, state, [batch])
}

suite('diagnosis of a step that is not finite', () => {
  const convolutions = layout.entries.filter(({ shape }) => shape.length === 4 && shape[2] === 3)
  for (const { name } of [convolutions[0]!, convolutions[3]!, convolutions.at(-1)!]) {
    test(`forward pass, after ${name}`, async () => {
      const message = await diagnoseCorrupted((weights) => weights.get(name)!.fill(3e38))
      assert.equal(message, `The first non-finite value is in the forward pass, after ${name}.`)
    })
  }

  test('backward pass only: the message names the gradient of the last layer', async () => {
    const last = layout.entries.slice(-2).map(({ name }) => name)
    const message = await diagnoseCorrupted((_, { coefficients }) => {
      for (let i = 4; i < coefficients.length; i += 5) coefficients[i] = 1e33
    })
    const [, name] = /in the backward pass, in the gradient of (\S+);/.exec(message) ?? []
    assert.ok(last.includes(name!), `${message} (expected one of: ${last})`)
  })

  test('weights that were already not finite before the step, and a step with finite values only', async () => {
    const { name } = layout.entries[5]!
    const nonFinite = await diagnoseCorrupted((weights) => {
      weights.get(name)![0] = Number.NaN
    })
    assert.equal(nonFinite, `Before this step, the weights of ${name} were already not finite.`)
    assert.equal(await diagnoseCorrupted(() => {}), 'The same step on the CPU gives only finite values.')
  })
})
