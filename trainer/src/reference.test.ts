import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createSchedule, paperSchedule } from '@ddpm/shared'
import ort from 'onnxruntime-node'
import { type Reference, readReference } from '../../test/support/reference.ts'
import { compile, createOnnxruntimeEngine } from './engines/onnxruntime.ts'
import { stepScalarNames, stepScalars } from './optimizer.ts'
import { flatten, layoutOf, tablesOf, unflatten } from './parameters.ts'
import { gradientGraph, type StepSpec } from './step.ts'
import { parameterSpecs } from './unet.ts'

const adam = { beta1: 0.9, beta2: 0.999, eps: 1e-8 }

for (const name of ['gray16', 'rgb16'] as const) {
  const reference = readReference(name)
  const skip = reference ? false : 'its files are not here; DDPM_REFERENCE may name their folder'
  suite(`the network and its training agree with PyTorch: ${name}`, { skip }, () => {
    if (reference) compare(reference)
  })
}

function relative(found: Float32Array, wanted: Float32Array): number {
  return distance(found, wanted) / length(wanted)
}

function length(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
}

function distance(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0))
}

function compare({ config, weights, case: known }: Reference): void {
  const tensor = (name: string) => {
    const found = known.get(name)
    assert.ok(found, name)
    return found
  }
  const [batch, , height, width] = tensor('x0').shape as [number, number, number, number]
  const spec: StepSpec = { unet: config, batch, height, width, adam, clipNorm: null }
  const layout = layoutOf(parameterSpecs(config))
  const parameters = flatten(layout, weights, 'the reference')
  const tables = tablesOf(layout, weights)
  const { alphasCumprod } = createSchedule(paperSchedule)
  const timestep = tensor('timestep').data
  const coefficients = Float32Array.from(
    [...timestep].flatMap((t) => [Math.sqrt(alphasCumprod[t]!), Math.sqrt(1 - alphasCumprod[t]!), 0, 1, 1]),
  )
  const data = { x0: tensor('x0').data, noise: tensor('noise').data, timestep, coefficients }

  test('epsilon, loss and gradients', async () => {
    const session = await compile(gradientGraph(spec), tables)
    const feeds = Object.fromEntries(
      Object.entries({ ...data, parameters }).map(([name, values]) => {
        const dims = name === 'coefficients' ? [batch, 5] : known.get(name)?.shape
        return [name, new ort.Tensor('float32', values, dims ?? [values.length])]
      }),
    )
    const { output, loss, gradient } = await session.run(feeds)
    await session.release()
    const epsilonError = relative(output!.data as Float32Array, tensor('epsilon').data)
    assert.ok(epsilonError < 1e-5, `epsilon differs by ${epsilonError}`)
    const lossError = relative(loss!.data as Float32Array, tensor('loss').data)
    assert.ok(lossError < 1e-5, `the loss differs by ${lossError}`)

    const found = unflatten(layout, gradient!.data as Float32Array)
    const all = length(gradient!.data as Float32Array)
    for (const [name, { data: values }] of found) {
      const wanted = tensor(`grad.${name}`).data
      const bound = 1e-4 * Math.max(length(wanted), 1e-3 * all)
      assert.ok(
        distance(values, wanted) <= bound,
        `grad.${name} differs by ${distance(values, wanted)}, not ${bound}`,
      )
    }
  })

  test('five steps of Adam', async () => {
    const zeros = () => new Float32Array(layout.size)
    const engine = await createOnnxruntimeEngine(spec, tables, {
      parameters: parameters.slice(),
      firstMoment: zeros(),
      secondMoment: zeros(),
      ema: parameters.slice(),
    })
    const losses = new Float32Array(5)
    for (let step = 1; step <= 5; step++) {
      const scalars = stepScalars(adam, { step, learningRate: 2e-3, weightDecay: 0, emaDecay: 0.999 })
      const batchOf = { ...data, label: null, dropout: null }
      losses[step - 1] = (
        await engine.step(
          batchOf,
          Float32Array.from(stepScalarNames, (name) => scalars[name]),
        )
      ).loss
    }
    assert.ok(relative(losses, tensor('adam5_losses').data) < 1e-4, `losses ${losses}`)

    const wanted = flatten(
      layout,
      new Map(layout.entries.map(({ name }) => [name, tensor(`adam5.${name}`)])),
      'the reference after five steps',
    )
    const moved = wanted.map((value, i) => value - parameters[i]!)
    const found = engine.state().parameters.map((value, i) => value - parameters[i]!)
    await engine.dispose()
    const error = distance(found, moved) / length(moved)
    assert.ok(error <= 1e-2, `the way of the parameters differs by ${error}`)
  })
}
