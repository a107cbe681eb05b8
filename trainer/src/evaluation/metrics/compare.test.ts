import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { suite, test } from 'node:test'
import { domains, fillNormals, quantile } from '@ddpm/shared'
import { Matrix } from 'ml-matrix'
import { halfWidth, resamplings } from './bootstrap.ts'
import { compare } from './compare.ts'
import type { Features } from './features.ts'
import { frechetDistance, momentsOf } from './frechet.ts'
import { kernelDistances } from './kernel.ts'
import { manifoldMeasures } from './manifold.ts'

function close(actual: number, expected: number, tolerance: number, what = ''): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what} ${actual}, expected ${expected}`)
}

function features(rows: readonly (readonly number[])[]): Features {
  return { count: rows.length, dims: rows[0]!.length, values: Float32Array.from(rows.flat()) }
}

/** Creates standard normal rows. */
function gaussian(count: number, dims: number, seed: number): Features {
  const values = new Float32Array(count * dims)
  fillNormals(seed, { domain: domains.sampling, image: 0, step: 0 }, values)
  return { count, dims, values }
}

function map(set: Features, f: (value: number, dim: number) => number): Features {
  return { ...set, values: set.values.map((value, i) => f(value, i % set.dims)) }
}

suite('Fréchet distance', () => {
  const gaussianOf = (mean: number[], covariance: number[][]) => ({
    mean: Float64Array.from(mean),
    covariance: new Matrix(covariance),
  })

  test('of Gaussians with diagonal covariances: ‖Δμ‖² + Σ (σ_a − σ_b)²', () => {
    const a = gaussianOf(
      [1, 0, -2],
      [
        [4, 0, 0],
        [0, 1, 0],
        [0, 0, 0],
      ],
    )
    const b = gaussianOf(
      [0, 0, 1],
      [
        [9, 0, 0],
        [0, 0.25, 0],
        [0, 0, 2],
      ],
    )
    close(frechetDistance(a, b), 1 + 9 + (2 - 3) ** 2 + (1 - 0.5) ** 2 + 2, 1e-12)
    close(frechetDistance(a, a), 0, 1e-12)
  })

  test('of covariances that do not commute, in two dimensions: tr √M = √(tr M + 2√det M)', () => {
    const A = [
      [2, 0.9],
      [0.9, 1],
    ]
    const B = [
      [1, -0.6],
      [-0.6, 3],
    ]
    const product = new Matrix(A).mmul(new Matrix(B))
    const determinant = product.get(0, 0) * product.get(1, 1) - product.get(0, 1) * product.get(1, 0)
    const cross = Math.sqrt(product.trace() + 2 * Math.sqrt(determinant))
    close(frechetDistance(gaussianOf([0, 0], A), gaussianOf([0, 0], B)), 3 + 4 - 2 * cross, 1e-12)
  })

  test('of samples approaches that of their distributions', () => {
    const a = gaussian(20_000, 4, 1)
    const b = map(gaussian(20_000, 4, 2), (value, dim) => value * (1 + dim / 2) + (dim === 0 ? 2 : 0))
    close(frechetDistance(momentsOf(a), momentsOf(b)), 4 + 0.25 + 1 + 2.25, 0.1)
    // A translation of one sample by d adds ‖d‖².
    const moved = map(a, (value) => value + 3)
    close(frechetDistance(momentsOf(a), momentsOf(moved)), 36, 1e-4)
  })

  test('a weight of two equals a repeated row', () => {
    const a = gaussian(9, 3, 4)
    const weights = [2, 0, 1, 1, 3, 0, 1, 1, 0]
    const repeated = features(
      weights.flatMap((weight, row) => {
        const values = [...a.values.subarray(row * 3, row * 3 + 3)]
        return new Array<number[]>(weight).fill(values)
      }),
    )
    const [actual, expected] = [momentsOf(a, weights), momentsOf(repeated)]
    actual.mean.forEach((value, k) => {
      close(value, expected.mean[k]!, 1e-12)
    })
    close(Matrix.sub(actual.covariance, expected.covariance).norm(), 0, 1e-12)
  })

  const scipy = spawnSync('python3', ['-c', 'import scipy.linalg']).status === 0
  test('equals the result of scipy’s sqrtm and numpy’s cov', {
    skip: !scipy && 'python3 has no scipy',
  }, () => {
    const a = map(gaussian(40, 12, 5), (value, dim) => value * (1 + dim))
    const b = map(gaussian(8, 12, 6), (value, dim) => value + dim / 3)
    const script = `
import json, sys
import numpy as np
from scipy import linalg
a, b = (np.array(rows) for rows in json.load(sys.stdin))
A, B = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
print(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(A + B - 2 * linalg.sqrtm(A @ B).real))`
    const rows = ({ count, dims, values }: Features) =>
      Array.from({ length: count }, (_, i) => [...values.subarray(i * dims, (i + 1) * dims)])
    const input = JSON.stringify([rows(a), rows(b)])
    const { stdout, stderr } = spawnSync('python3', ['-c', script], { input, encoding: 'utf8' })
    const expected = Number(stdout)
    assert.ok(expected > 100, stderr)
    // b has fewer images than dimensions, so its covariance is singular and sqrtm is less accurate.
    close(frechetDistance(momentsOf(a), momentsOf(b)) / expected, 1, 1e-5)
  })
})

suite('kernel distance', () => {
  const ones = (a: Features, b: Features) => [
    { a: new Float64Array(a.count).fill(1), b: new Float64Array(b.count).fill(1) },
  ]

  test('equals a result computed by hand', () => {
    // k(x, y) = (xy + 1)³: 1 within both sets; 1, 1, 1 and 27 between them.
    const [a, b] = [features([[0], [1]]), features([[0], [2]])]
    close(kernelDistances(a, b, ones(a, b))[0]!, 1 + 1 - 2 * 7.5, 1e-12)
  })

  test('equals the sum over pairs, and with weights the sum over repeated images', () => {
    const [a, b] = [gaussian(7, 5, 1), map(gaussian(6, 5, 2), (value) => value + 0.5)]
    const weightings = [
      ...ones(a, b),
      { a: Float64Array.of(2, 0, 1, 1, 0, 3, 0), b: Float64Array.of(1, 0, 0, 2, 2, 1) },
    ]
    const kernel = (x: Features, i: number, y: Features, j: number) => {
      let dot = 0
      for (let k = 0; k < 5; k++) dot += x.values[i * 5 + k]! * y.values[j * 5 + k]!
      return (dot / 5 + 1) ** 3
    }
    /** Averages the kernel over lists of rows; repetitions of a row do not form a pair within a set. */
    const meanOver = (x: Features, xs: number[], y: Features, ys: number[]) => {
      const pairs = xs.flatMap((i) => ys.filter((j) => x !== y || i !== j).map((j) => kernel(x, i, y, j)))
      return pairs.reduce((sum, value) => sum + value) / pairs.length
    }
    const rowsOf = (weights: Float64Array) =>
      [...weights].flatMap((weight, row) => new Array<number>(weight).fill(row))
    const distances = kernelDistances(a, b, weightings)
    for (const [w, weights] of weightings.entries()) {
      const [xs, ys] = [rowsOf(weights.a), rowsOf(weights.b)]
      const expected = meanOver(a, xs, a, xs) + meanOver(b, ys, b, ys) - 2 * meanOver(a, xs, b, ys)
      close(distances[w]!, expected, 1e-9, `weighting ${w}:`)
    }
  })

  test('is unbiased: around 0 for two samples of a distribution', () => {
    const values = Array.from({ length: 200 }, (_, i) => {
      const [a, b] = [gaussian(10, 3, 2 * i), gaussian(10, 3, 2 * i + 1)]
      return kernelDistances(a, b, ones(a, b))[0]!
    })
    const mean = values.reduce((sum, value) => sum + value) / values.length
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
    close(mean, 0, (3 * deviation) / Math.sqrt(values.length))
    assert.ok(values.some((value) => value < 0))
  })
})

suite('precision, recall, density, coverage', () => {
  test('equal results computed by hand, on a line', () => {
    // Distances to the nearest neighbour: real 1, 1, 1 and 6; generated 0.5, 0.5 and 9.
    const real = features([[0], [1], [2], [8]])
    const generated = features([[0.25], [0.75], [-8.75]])
    const measures = manifoldMeasures(real, generated, 1)
    assert.deepEqual([...measures.precision], [1, 1, 0])
    // 0.25 and 0.75 are within 1 of 0 and of 1, but not within 1 of 2 or within 6 of 8.
    assert.deepEqual([...measures.density], [2, 2, 0])
    assert.deepEqual([...measures.coverage], [1, 1, 0, 0])
    // The generated balls are [−0.25, 0.75], [0.25, 1.25] and [−17.75, 0.25].
    assert.deepEqual([...measures.recall], [1, 1, 0, 0])
  })

  test('equal results computed by hand with k = 2', () => {
    const real = features([[0], [1], [3], [10]])
    const generated = features([[4], [5], [40]])
    // Radii: real 3, 2, 3 and 9; generated 36, 35 and 36.
    const measures = manifoldMeasures(real, generated, 2)
    assert.deepEqual([...measures.density], [2 / 2, 2 / 2, 0])
    assert.deepEqual([...measures.precision], [1, 1, 0])
    assert.deepEqual([...measures.coverage], [0, 0, 1, 1])
    assert.deepEqual([...measures.recall], [1, 1, 1, 1])
  })

  test('follow their definitions for points in the plane', () => {
    const [real, generated] = [gaussian(60, 2, 1), map(gaussian(50, 2, 2), (value) => value * 1.1 + 1)]
    const at = ({ values }: Features, i: number) => [values[2 * i]!, values[2 * i + 1]!] as const
    const distance = (a: readonly [number, number], b: readonly [number, number]) =>
      Math.hypot(a[0] - b[0], a[1] - b[1])
    const points = (set: Features) => Array.from({ length: set.count }, (_, i) => at(set, i))
    const [xs, ys] = [points(real), points(generated)]
    const k = 3
    const radius = (all: (readonly [number, number])[], i: number) =>
      all.map((other) => distance(all[i]!, other)).sort((a, b) => a - b)[k]!
    const inBallOf = (all: (readonly [number, number])[], point: readonly [number, number]) =>
      all.filter((centre, i) => distance(centre, point) <= radius(all, i)).length
    const measures = manifoldMeasures(real, generated, k)
    assert.deepEqual(
      [...measures.precision],
      ys.map((y) => Number(inBallOf(xs, y) > 0)),
    )
    assert.deepEqual(
      [...measures.recall],
      xs.map((x) => Number(inBallOf(ys, x) > 0)),
    )
    assert.deepEqual(
      [...measures.coverage],
      xs.map((x, i) => Number(ys.some((y) => distance(x, y) <= radius(xs, i)))),
    )
    measures.density.forEach((value, j) => {
      close(value, inBallOf(xs, ys[j]!) / k, 1e-12)
    })
    assert.ok(measures.precision.includes(0) && measures.recall.includes(0) && measures.coverage.includes(0))
  })

  test('for two samples of a distribution: density around 1, coverage around 1 − ½ᵏ', () => {
    // Naeem et al. 2020, section 3.3: the expected coverage of equal sets is 1 − Π (n−i)/(2n−i) over i = 1 … k.
    const { density, coverage } = manifoldMeasures(gaussian(1500, 4, 1), gaussian(1500, 4, 2), 5)
    const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value) / values.length
    close(mean(density), 1, 0.08)
    close(mean(coverage), 1 - 1 / 32, 0.015)
  })
})

suite('bootstrap', () => {
  test('quantiles', () => {
    assert.equal(quantile([3, 1, 2], 0.5), 2)
    assert.equal(quantile([3, 1, 2], 0.75), 2.5)
    assert.equal(quantile([3, 1, 2], 1), 3)
  })

  test('weights add up to the count; sets and replicates differ, and a seed is reproducible', () => {
    const resample = (set: number, seed = 0) => resamplings(50, 3, { seed, set })
    for (const weights of resample(0)) {
      assert.equal(
        weights.reduce((sum, weight) => sum + weight),
        50,
      )
    }
    assert.deepEqual(resample(0), resample(0))
    const all = [...resample(0), ...resample(1), ...resample(0, 1)].map(String)
    assert.equal(new Set(all).size, 9)
  })

  test('the error bar of a mean is 1.96 σ/√n', () => {
    const { values } = gaussian(400, 1, 3)
    const mean = values.reduce((sum, value) => sum + value) / 400
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 400)
    const means = resamplings(400, 2000, { seed: 1, set: 0 }).map(
      (weights) => weights.reduce((sum, weight, i) => sum + weight * values[i]!, 0) / 400,
    )
    close(halfWidth(means) / ((1.96 * deviation) / Math.sqrt(400)), 1, 0.06)
  })

  test('the error bars match the spread of other samples of the distributions', () => {
    const shifted = (seed: number) => map(gaussian(300, 3, seed), (value) => value * 1.2 + 0.5)
    const options = { neighbours: 5, replicates: 200, seed: 0 }
    const scores = compare(gaussian(300, 3, 100), shifted(200), options)
    const others = Array.from({ length: 40 }, (_, i) =>
      compare(gaussian(300, 3, 300 + i), shifted(400 + i), { ...options, replicates: 0 }),
    )
    for (const name of ['fid', 'kid', 'precision', 'density'] as const) {
      const spread = halfWidth(others.map((other) => other[name].value))
      const bar = scores[name].halfWidth!
      assert.ok(bar > spread / 2 && bar < spread * 2, `${name}: ± ${bar}, spread of other samples ${spread}`)
    }
  })
})
