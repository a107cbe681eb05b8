import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createSchedule, paperSchedule } from '@ddpm/shared'
import { shapes } from '../data/shapes/dataset.ts'
import { initialize, layoutOf, tablesOf, unflatten } from '../network/parameters.ts'
import { defaultUNet, parameterSpecs } from '../network/unet.ts'
import { recipes } from '../run/recipes.ts'
import type { Batch } from '../step/engine.ts'
import { initialState } from '../step/engine.ts'
import type { StepSpec } from '../step/step.ts'
import { batchMaker } from './batches.ts'
import { diagnose } from './diagnosis.ts'

const dataset = shapes(8, 0)
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
const layout = layoutOf(parameterSpecs(spec.unet))
const tables = tablesOf(layout)

function broken(spoil: (weights: Map<string, Float32Array>, batch: Batch) => void): Promise<string> {
  const state = initialState(initialize(layout, 0))
  const options = { ...recipes['shapes']!, batchSize: 2 }
  const batch = batchMaker(dataset, createSchedule(paperSchedule), spec.unet, options)(0)
  spoil(new Map([...unflatten(layout, state.parameters)].map(([name, { data }]) => [name, data])), batch)
  return diagnose(spec, tables, state, [batch])
}

suite('where a number stops being finite', () => {
  const convolutions = layout.entries.filter(({ shape }) => shape.length === 4 && shape[2] === 3)
  for (const { name } of [convolutions[0]!, convolutions[3]!, convolutions.at(-1)!]) {
    test(`forward, behind ${name}`, async () => {
      const found = await broken((weights) => weights.get(name)!.fill(3e38))
      assert.equal(found, `It shows first in the forward pass, behind ${name}.`)
    })
  }

  test('backward only: the last layer’s gradient is the first', async () => {
    const last = layout.entries.slice(-2).map(({ name }) => name)
    const found = await broken((_, { coefficients }) => {
      for (let i = 4; i < coefficients.length; i += 5) coefficients[i] = 1e33
    })
    const [, name] = /first in the backward pass, in the gradient of (\S+),/.exec(found) ?? []
    assert.ok(last.includes(name!), `${found} (the last: ${last})`)
  })

  test('weights that were spoiled before, and a step that is fine', async () => {
    const { name } = layout.entries[5]!
    const spoiled = await broken((weights) => {
      weights.get(name)![0] = Number.NaN
    })
    assert.equal(spoiled, `Before it, the weights of ${name} were not finite.`)
    assert.equal(await broken(() => {}), 'It does not show when the step is computed again on the CPU.')
  })
})
