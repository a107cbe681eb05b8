import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSchedule, domains, fillNormals, type Network, paperSchedule, priorTerm } from '@ddpm/shared'
import { type Dataset, toSigned } from '../data/dataset/dataset.ts'
import { type BoundRequest, emptyBound, measureBound, splitIntoStrata, summarizeBound } from './likelihood.ts'

const schedule = createSchedule({ ...paperSchedule, timesteps: 200, betaEnd: 0.1 })
const [mu, s] = [0.1, 0.25]

/** Creates images of independent pixels, N(μ, s²), rounded to bytes. */
function gaussianImages(count: number, side: number): Dataset {
  const values = new Float32Array(count * side * side)
  fillNormals(1, { domain: domains.sampling, image: 0, step: 0 }, values)
  const pixels = Uint8Array.from(values, (z) => Math.round((mu + s * z + 1) * 127.5))
  return {
    name: 'gaussian',
    channels: 1,
    height: side,
    width: side,
    count,
    classes: [],
    pixels,
    labels: null,
  }
}

/** Predicts the optimal x̂₀, and the position in the learned variance's range that makes the reverse step exact. */
const optimal: Network = (x, timestep) => {
  const size = x.length / timestep.length
  const out = new Float32Array(2 * x.length)
  timestep.forEach((t, n) => {
    const alphaBar = schedule.alphasCumprod[t]!
    const total = s ** 2 * alphaBar + 1 - alphaBar
    const remaining = (s ** 2 * (1 - alphaBar)) / total
    const variance = schedule.posteriorVariance[t]! + schedule.posteriorMeanCoef1[t]! ** 2 * remaining
    const [low, high] = [schedule.posteriorLogVarianceClipped[t]!, Math.log(schedule.betas[t]!)]
    for (let i = 0; i < size; i++) {
      const xt = x[n * size + i]!
      out[2 * n * size + i] = mu + ((s ** 2 * Math.sqrt(alphaBar)) / total) * (xt - Math.sqrt(alphaBar) * mu)
      out[(2 * n + 1) * size + i] = (2 * (Math.log(variance) - low)) / (high - low) - 1
    }
  })
  return out
}

const request: BoundRequest = {
  schedule,
  network: optimal,
  dataset: gaussianImages(60, 12),
  labels: null,
  predictionType: 'x0',
  varianceType: 'learnedRange',
  clamp: 1,
  images: 60,
  terms: 10,
  seed: 3,
}

async function measure(changes: Partial<BoundRequest> = {}) {
  const state = emptyBound(schedule.timesteps)
  await measureBound({ ...request, ...changes }, state, () => false)
  return state
}

test('strata cover all timesteps: timestep 0 alone, then widths that grow by a factor', () => {
  for (const [timesteps, count] of [
    [1000, 20],
    [1000, 3],
    [200, 150],
    [7, 7],
    [5, 2],
  ] as const) {
    const strata = splitIntoStrata(timesteps, count)
    assert.equal(strata.length, count)
    assert.deepEqual(
      strata.map(({ start }) => start),
      [0, ...strata.slice(0, -1).map(({ end }) => end)],
    )
    assert.equal(strata.at(-1)!.end, timesteps)
    assert.ok(strata.every(({ start, end }) => end > start) && strata[0]!.end === 1)
  }
  assert.deepEqual(
    splitIntoStrata(1000, 10).map(({ end }) => end),
    [1, 2, 5, 10, 22, 46, 100, 215, 464, 1000],
  )
})

test('the bound of Gaussian images under the exact reverse process is their entropy', async () => {
  // h(x) − log 2/255 of a Gaussian, plus the KL divergence of the last x_t from standard normal noise.
  const alphaBar = schedule.alphasCumprod.at(-1)!
  const priorGap = 0.5 * (alphaBar * (s ** 2 + mu ** 2 - 1) - Math.log(1 - alphaBar + alphaBar * s ** 2))
  const entropy = 0.5 * Math.log2(2 * Math.PI * Math.E * s ** 2) - Math.log2(2 / 255) + priorGap / Math.LN2
  const { total } = summarizeBound(await measure({ terms: 200 }))
  assert.ok(Math.abs(total.mean - entropy) < 4 * total.standardError!, `${total.mean}, entropy ${entropy}`)
  assert.ok(total.standardError! < 0.03)
})

test('one timestep per stratum estimates the exact sum on the same images, within its standard error', async () => {
  const [exact, estimated] = [await measure({ terms: 200 }), await measure()]
  const differences = estimated.totals.map((bits, i) => bits - exact.totals[i]!)
  const mean = differences.reduce((sum, value) => sum + value) / differences.length
  const deviation = Math.sqrt(differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 59)
  assert.ok(Math.abs(mean) < (3 * deviation) / Math.sqrt(60), `${mean} ± ${deviation / Math.sqrt(60)}`)
  const { total, prior, reconstruction, diffusion } = summarizeBound(exact)
  assert.ok(Math.abs(prior + reconstruction + diffusion - total.mean) < 1e-12)
  const terms = exact.termSums.map((sum, t) => sum / exact.termCounts[t]!)
  assert.ok(Math.abs(terms.slice(1).reduce((sum, bits) => sum + bits) - diffusion) < 1e-9)
  const x0 = Float32Array.from(request.dataset.pixels, toSigned)
  assert.ok(Math.abs(prior - priorTerm(schedule, x0)) < 1e-9)
})

test('a resumed measurement is bit-identical, and fewer images are the first ones of more', async () => {
  const complete = await measure()
  const state = emptyBound(schedule.timesteps)
  await measureBound(request, state, (done) => done >= 20)
  assert.ok(state.totals.length >= 20 && state.totals.length < 60)
  const restored = JSON.parse(JSON.stringify(state)) as typeof state
  await measureBound(request, restored, () => false)
  assert.deepEqual(restored, complete)
  assert.deepEqual((await measure({ images: 25 })).totals, complete.totals.slice(0, 25))
})

test('the model is conditioned on each image’s own label', async () => {
  const received = new Map<number, Set<number>>()
  const labels = Array.from({ length: 60 }, (_, i) => i % 5)
  const { pixels } = request.dataset
  const network: Network = (x, timestep, label) => {
    timestep.forEach((t, n) => {
      // At the lowest noise level the nearest image is the original one.
      if (t === 0) {
        const first = x.subarray(n * 144, n * 144 + 144)
        const distance = (i: number) =>
          first.reduce((sum, value, k) => sum + (value - toSigned(pixels[i * 144 + k]!)) ** 2, 0)
        const nearest = labels.map((_, i) => distance(i))
        received.set(nearest.indexOf(Math.min(...nearest)), new Set([label![n]!]))
      }
    })
    return optimal(x, timestep, label)
  }
  await measure({ network, labels, terms: 200, images: 30 })
  assert.equal(received.size, 30)
  for (const [i, label] of received) assert.deepEqual([...label], [labels[i]])
})
