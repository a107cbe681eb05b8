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
import { random } from '../../../test/support/cases.ts'
import { float64, type Tensor, tensor } from '../../../test/support/float64.ts'
import { discs, trainTinyRun } from '../../../test/support/model.ts'
import { gradients } from '../algebra/grad.ts'
import { createGraph, evaluate, type Node } from '../algebra/graph.ts'
import { createOps } from '../algebra/ops.ts'
import { emptyBound, measureBound } from '../evaluation/likelihood.ts'
import { openModel } from '../inference/model.ts'
import { variationalTable, variationalTerm } from './variational.ts'

const schedule = createSchedule(paperSchedule)
const timesteps = [0, 1, 2, 17, 400, 999]
const shape = [timesteps.length, 2, 3, 3]
const size = 18

/** Bytes, the outermost ones among them; a network's answers that are right but for a little. */
function example(predictionType: PredictionType) {
  const x0 = random(1, shape).data.map((z) => Math.round((Math.tanh(z) + 1) * 127.5) / 127.5 - 1)
  x0.forEach((_, i) => {
    if (i % size < 2) x0[i] = i % size === 0 ? -1 : 1
  })
  const noise = random(2, shape).data
  const place = random(4, shape).data
  const wrong = random(3, shape).data
  const error = wrong.map((value, i) => {
    const [, b] = targetWeights(predictionType, schedule.alphasCumprod[timesteps[Math.floor(i / size)]!]!)
    return value * (b === 1 ? 0.3 : 0.01)
  })
  return { x0, noise, error, place }
}

for (const predictionType of ['epsilon', 'x0', 'v'] as const) {
  test(`the term that is trained is the term that is measured: ${predictionType}`, () => {
    const { x0, noise, error, place } = example(predictionType)
    const found = variationalTerm<Tensor>(createOps(float64), variationalTable(schedule, predictionType), {
      timestep: tensor([timesteps.length], timesteps),
      x0: tensor(shape, x0),
      error: tensor(shape, error),
      place: tensor(shape, place),
    })
    assert.deepEqual(found.shape, [timesteps.length, 1, 1, 1])
    for (const [n, t] of timesteps.entries()) {
      const own = (values: Float64Array) => values.subarray(n * size, (n + 1) * size)
      const [a, b] = targetWeights(predictionType, schedule.alphasCumprod[t]!)
      const output = own(x0).map((value, i) => a * value + b * own(noise)[i]! + own(error)[i]!)
      const wanted = boundTerm(
        schedule,
        { predictionType, varianceType: 'learnedRange', clamp: null },
        t,
        own(x0),
        qSample(schedule, own(x0), t, own(noise)),
        Float64Array.from([...output, ...own(place)]),
      )
      // The table is float32, and Φ at t = 0 an approximation.
      const tolerance = (t === 0 ? 2e-2 : 1e-5) * Math.abs(wanted)
      assert.ok(Math.abs(found.data[n]! - wanted) < tolerance, `t = ${t}: ${found.data[n]}, not ${wanted}`)
    }
  })
}

test('its derivative by the variances is the difference quotient’s; by the mean there is none', () => {
  const { x0, error, place } = example('epsilon')
  const graph = createGraph()
  const input = (name: string) => graph.input(name, name === 'timestep' ? [timesteps.length] : shape)
  const nodes = { timestep: input('timestep'), x0: input('x0'), error: input('error'), place: input('place') }
  const terms = variationalTerm(graph.ops, variationalTable(schedule, 'epsilon'), nodes)
  const loss = graph.ops.reduceSum(graph.ops.mul(terms, graph.input('weights', terms.shape)), [0, 1, 2, 3])
  assert.throws(() => gradients(graph, loss, [nodes.error]), /does not depend/)
  const [gradient] = gradients(graph, loss, [nodes.place])

  const at = (node: Node, places: Float64Array) =>
    evaluate(
      [node],
      float64,
      new Map([
        ['timestep', tensor([timesteps.length], timesteps)],
        ['x0', tensor(shape, x0)],
        ['error', tensor(shape, error)],
        ['place', tensor(shape, places)],
        ['weights', random(9, terms.shape as number[])],
      ]),
    )[0]!.data
  const found = at(gradient!, place)
  place.forEach((_, i) => {
    const moved = (by: number) => at(loss, place.with(i, place[i]! + by))[0]!
    const step = 1e-5
    const quotient = (moved(step) - moved(-step)) / (2 * step)
    assert.ok(
      Math.abs(found[i]! - quotient) <= 1e-6 * Math.max(1e-3, Math.abs(quotient)),
      `${i}: ${found[i]}, ${quotient}`,
    )
  })
  assert.ok(found.every((value) => value !== 0))
})

test('trained on L_hybrid, the learned variances bound pictures better than either fixed kind', async () => {
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
  // The same pictures, timesteps and noise: only the variances differ.
  for (const fixed of ['fixedSmall', 'fixedLarge'] as const) {
    const gains = (await bits(fixed)).map((value, i) => value - learned[i]!)
    const mean = gains.reduce((sum, value) => sum + value) / gains.length
    const variance = gains.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (gains.length - 1)
    const error = Math.sqrt(variance / gains.length)
    assert.ok(mean > 2 * error, `${fixed}: ${mean} bits/dim more, standard error ${error}`)
  }
  await model.dispose()
})
