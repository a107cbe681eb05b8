import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createShapes } from '../data/shapes/dataset.ts'
import { createOnnxruntimeEngine } from '../engines/onnxruntime.ts'
import { defaultUNet } from '../network/config.ts'
import { createParameterLayout, createTables, initialize } from '../network/parameters.ts'
import { parameterSpecs } from '../network/unet.ts'
import { recipes } from '../run/recipes.ts'
import { initialState } from '../step/engine.ts'
import { learningRateAt, NotFinite, train } from './loop.ts'

test('the learning rate rises linearly, then falls along half a cosine', () => {
  const recipe = { ...recipes['shapes']!, learningRate: 1, warmup: 10, steps: 110 }
  const at = (step: number) => learningRateAt(recipe, step)
  assert.ok(Math.abs(at(0) - 0.1) < 1e-12 && Math.abs(at(9) - 1) < 1e-12)
  assert.ok(Math.abs(at(10) - 1) < 1e-12 && Math.abs(at(60) - 0.5) < 1e-12 && at(109) < 1e-3)
  assert.equal(learningRateAt({ ...recipe, learningRateSchedule: 'constant' }, 109), 1)
})

test('a step with micro-batches equals the step with the whole batch, up to rounding', async () => {
  const dataset = createShapes(32, 0)
  // The gradients of biases before a norm are 0 up to rounding. Adam with a small ε would amplify the rounding errors.
  const recipe = {
    ...recipes['shapes']!,
    baseChannels: 8,
    batchSize: 8,
    steps: 3,
    warmup: 0,
    clipNorm: 0.5,
    eps: 1e-4,
  }
  const config = { ...networkConfig(recipe), dropout: 0.2 }
  const layout = createParameterLayout(parameterSpecs(config))
  const runSteps = async (accumulate: number) => {
    const spec = {
      unet: config,
      batch: 8 / accumulate,
      accumulate,
      height: 32,
      width: 32,
      adam: recipe,
      clipNorm: 0.5,
      eps: 1e-4,
    }
    const start = initialize(layout, 0)
    const engine = await createOnnxruntimeEngine(spec, createTables(layout), initialState(start.slice()), {
      threads: 1,
    })
    const reports: number[] = []
    await train(
      engine,
      dataset,
      config,
      { ...recipe, accumulate },
      {
        from: 0,
        onStep({ loss, gradientNorm }) {
          reports.push(loss, gradientNorm)
          return false
        },
      },
    )
    const end = (await engine.state()).ema.map((value, i) => value - start[i]!)
    await engine.dispose()
    return { reports, end }
  }
  const whole = await runSteps(1)
  for (const accumulate of [2, 8]) {
    const split = await runSteps(accumulate)
    split.reports.forEach((value, i) => {
      assert.ok(Math.abs(value / whole.reports[i]! - 1) < 1e-5, `report ${i}: ${value}, ${whole.reports[i]}`)
    })
    const error = Math.hypot(...split.end.map((value, i) => value - whole.end[i]!)) / Math.hypot(...whole.end)
    assert.ok(error < 1e-3, `the parameter updates differ by ${error}`)
  }
})

test('a loss that is not finite stops the training and leaves the state unchanged', async () => {
  const dataset = createShapes(8, 0)
  const recipe = {
    ...recipes['shapes']!,
    baseChannels: 8,
    batchSize: 2,
    steps: 3,
    warmup: 0,
    learningRate: 1e-3,
  }
  const config = { ...networkConfig(recipe), dropout: 0 }
  const layout = createParameterLayout(parameterSpecs(config))
  const spec = { unet: config, batch: 2, height: 32, width: 32, adam: recipe, clipNorm: 1 }
  const engine = await createOnnxruntimeEngine(
    spec,
    createTables(layout),
    initialState(initialize(layout, 0)),
  )
  let before: Float32Array | null = null
  const training = train(engine, dataset, config, recipe, {
    from: 0,
    async onStep({ step }) {
      if (step === 2) {
        const { parameters, secondMoment } = await engine.state()
        before = parameters.slice()
        // NaN makes the next loss not finite.
        secondMoment.fill(Number.NaN)
        parameters[0] = Number.NaN
        before[0] = Number.NaN
      }
      return false
    },
  })
  await assert.rejects(training, (error) => error instanceof NotFinite && error.step === 3)
  assert.deepEqual([...(await engine.state()).parameters], [...before!])
  await engine.dispose()
})
function networkConfig(recipe: { baseChannels: number }) {
  return {
    ...defaultUNet,
    baseChannels: recipe.baseChannels,
    channelMultiples: [1, 1],
    attention: [false, true],
    numResBlocks: 1,
    classes: createShapes(1, 0).classes.length,
  }
}
