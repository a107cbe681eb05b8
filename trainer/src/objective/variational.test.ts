import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import {
  boundTerm,
  createSchedule,
  type PredictionType,
  paperSchedule,
  qSample,
  targetWeights,
  type VarianceType,
} from '@ddpm/shared'
import { randomTensor } from '../../../test/support/cases.ts'
import { float64, type Tensor, tensor } from '../../../test/support/float64.ts'
import { discs, trainTinyRun } from '../../../test/support/model.ts'
import { gradients } from '../algebra/grad.ts'
import { createGraph, evaluate, type Node } from '../algebra/graph.ts'
import { createOps } from '../algebra/ops.ts'
import { emptyBound, measureBound } from '../evaluation/likelihood.ts'
import { openModel } from '../inference/model.ts'
import { createVariationalTable, variationalTerm } from './variational.ts'

const schedule = createSchedule(paperSchedule)
const timesteps = [0, 1, 2, 17, 400, 999]
const shape = [timesteps.length, 2, 3, 3]
const size = 18

/** Creates images whose values are bytes, including the lowest and the highest, and model outputs with small errors. */
function createExample(predictionType: PredictionType) {
  const x0 = randomTensor(1, shape).data.map((z) => Math.round((Math.tanh(z) + 1) * 127.5) / 127.5 - 1)
  x0.forEach((_, i) => {
    if (i % size < 2) x0[i] = i % size === 0 ? -1 : 1
  })
  const noise = randomTensor(2, shape).data
  const interpolation = randomTensor(4, shape).data
  const error = randomTensor(3, shape).data.map((value, i) => {
    const [, b] = targetWeights(predictionType, schedule.alphasCumprod[timesteps[Math.floor(i / size)]!]!)
    return value * (b === 1 ? 0.3 : 0.01)
  })
  return { x0, noise, error, interpolation }
}

for (const predictionType of ['epsilon', 'x0', 'v'] as const) {
  test(`the training term equals the evaluation term: ${predictionType}`, () => {
    const { x0, noise, error, interpolation } = createExample(predictionType)
    const actual = variationalTerm<Tensor>(
      createOps(float64),
      createVariationalTable(schedule, predictionType),
      {
        timestep: tensor([timesteps.length], timesteps),
        x0: tensor(shape, x0),
        error: tensor(shape, error),
        varianceInterpolation: tensor(shape, interpolation),
      },
    )
    assert.deepEqual(actual.shape, [timesteps.length, 1, 1, 1])
    for (const [n, t] of timesteps.entries()) {
      const imageOf = (values: Float64Array) => values.subarray(n * size, (n + 1) * size)
      const [a, b] = targetWeights(predictionType, schedule.alphasCumprod[t]!)
      const output = imageOf(x0).map((value, i) => a * value + b * imageOf(noise)[i]! + imageOf(error)[i]!)
      const expected = boundTerm(
        schedule,
        { predictionType, varianceType: 'learnedRange', clamp: null },
        t,
        imageOf(x0),
        qSample(schedule.alphasCumprod[t]!, imageOf(x0), imageOf(noise)),
        Float64Array.from([...output, ...imageOf(interpolation)]),
      )
      // The table is float32; at t = 0, Φ is approximated.
      const tolerance = (t === 0 ? 2e-2 : 1e-5) * Math.abs(expected)
      const difference = Math.abs(actual.data[n]! - expected)
      assert.ok(difference < tolerance, `t = ${t}: expected ${expected}, got ${actual.data[n]}`)
    }
  })
}

test('the gradient with respect to the variances matches difference quotients; the mean has no gradient', () => {
  const { x0, error, interpolation } = createExample('epsilon')
  const graph = createGraph()
  const input = (name: string) => graph.input(name, name === 'timestep' ? [timesteps.length] : shape)
  const nodes = {
    timestep: input('timestep'),
    x0: input('x0'),
    error: input('error'),
    interpolation: input('interpolation'),
  }
  const terms = variationalTerm(graph.ops, createVariationalTable(schedule, 'epsilon'), {
    timestep: nodes.timestep,
    x0: nodes.x0,
    error: nodes.error,
    varianceInterpolation: nodes.interpolation,
  })
  const loss = graph.ops.reduceSum(graph.ops.mul(terms, graph.input('weights', terms.shape)), [0, 1, 2, 3])
  assert.throws(() => gradients(graph, loss, [nodes.error]), /does not depend/)
  const [gradient] = gradients(graph, loss, [nodes.interpolation])

  const evaluateAt = (node: Node, values: Float64Array) =>
    evaluate(
      [node],
      float64,
      new Map([
        ['timestep', tensor([timesteps.length], timesteps)],
        ['x0', tensor(shape, x0)],
        ['error', tensor(shape, error)],
        ['interpolation', tensor(shape, values)],
        ['weights', randomTensor(9, terms.shape as number[])],
      ]),
    )[0]!.data
  const actual = evaluateAt(gradient!, interpolation)
  interpolation.forEach((_, i) => {
    const lossAt = (offset: number) => evaluateAt(loss, interpolation.with(i, interpolation[i]! + offset))[0]!
    const step = 1e-5
    const quotient = (lossAt(step) - lossAt(-step)) / (2 * step)
    assert.ok(
      Math.abs(actual[i]! - quotient) <= 1e-6 * Math.max(1e-3, Math.abs(quotient)),
      `element ${i}: expected ${quotient}, got ${actual[i]}`,
    )
  })
  assert.ok(actual.every((value) => value !== 0))
})

test('variances trained with L_hybrid give a tighter bound than both fixed variances', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-variational-'))
  after(() => rmSync(folder, { recursive: true }))
  const network = { baseChannels: 8, channelMultiples: [1], attention: [false] }
  await trainTinyRun(folder, {
    ...network,
    ...{ size: 8, steps: 200, predictionType: 'epsilon', varianceType: 'learnedRange' },
  })
  const model = await openModel(folder, 'ema')
  const dataset = discs(24, 8)
  const bits = async (varianceType: VarianceType) => {
    const state = emptyBound(schedule.timesteps)
    const request = {
      ...{ schedule, network: model.network, dataset, labels: dataset.labels, varianceType },
      ...({ predictionType: 'epsilon', clamp: 1, images: 24, terms: 60, seed: 0 } as const),
    }
    await measureBound(request, state, () => false)
    return state.totals
  }
  const learned = await bits('learnedRange')
  // Images, timesteps and noise are the same: only the variances differ.
  for (const fixed of ['fixedSmall', 'fixedLarge'] as const) {
    const gains = (await bits(fixed)).map((value, i) => value - learned[i]!)
    const mean = gains.reduce((sum, value) => sum + value) / gains.length
    const variance = gains.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (gains.length - 1)
    const error = Math.sqrt(variance / gains.length)
    assert.ok(mean > 2 * error, `${fixed} − learned: ${mean} bits/dim, standard error ${error}`)
  }
  await model.dispose()
})
