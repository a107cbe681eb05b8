import type { Features } from './features.ts'

/** How often each image of two sets counts: [count] each. */
export interface Weights {
  readonly a: Float64Array
  readonly b: Float64Array
}

/**
 * Computes the kernel distance, the unbiased estimate of MMD² (Gretton et al. 2012, lemma 6). With features of the
 * Inception network it is KID. An unbiased estimate may be below 0. This estimate uses all pairs; the paper's code averages over
 * subsets, which has the same expectation.
 * @param weightings one distance is returned for each; all are computed in one pass over the pairs. Repetitions of the
 * same image do not form a pair.
 */
export function kernelDistances(a: Features, b: Features, weightings: readonly Weights[]): number[] {
  const ofA = within(
    a,
    weightings.map((weights) => weights.a),
  )
  const ofB = within(
    b,
    weightings.map((weights) => weights.b),
  )
  const cross = between(a, b, weightings)
  return weightings.map((_, w) => ofA[w]! + ofB[w]! - 2 * cross[w]!)
}

/** Computes the mean of k over pairs of different images of one set, for each weighting. */
function within(a: Features, weightings: readonly Float64Array[]): number[] {
  const sums = weightings.map(() => 0)
  const row = new Float64Array(a.count)
  for (let i = 0; i < a.count - 1; i++) {
    kernelRow(a, i, a, i + 1, row)
    for (const [w, weights] of weightings.entries()) {
      if (weights[i] !== 0) sums[w]! += 2 * weights[i]! * weightedSum(weights, row, i + 1)
    }
  }
  return weightings.map((weights, w) => {
    const squares = weights.reduce((sum, weight) => sum + weight ** 2, 0)
    return sums[w]! / (total(weights) ** 2 - squares)
  })
}

/** Computes the mean of k over pairs of an image of `a` and an image of `b`, for each weighting. */
function between(a: Features, b: Features, weightings: readonly Weights[]): number[] {
  const sums = weightings.map(() => 0)
  const row = new Float64Array(b.count)
  for (let i = 0; i < a.count; i++) {
    kernelRow(a, i, b, 0, row)
    for (const [w, weights] of weightings.entries()) {
      if (weights.a[i] !== 0) sums[w]! += weights.a[i]! * weightedSum(weights.b, row, 0)
    }
  }
  return weightings.map((weights, w) => sums[w]! / (total(weights.a) * total(weights.b)))
}

/** Computes k(x, y) = (x·y/d + 1)³, the kernel of KID (Bińkowski et al. 2018), of row i of `a` and rows of `b`. */
function kernelRow(a: Features, i: number, b: Features, from: number, out: Float64Array): void {
  const { dims } = a
  const x = a.values.subarray(i * dims, (i + 1) * dims)
  for (let j = from; j < b.count; j++) {
    let dot = 0
    for (let k = 0, at = j * dims; k < dims; k++, at++) dot += x[k]! * b.values[at]!
    out[j] = (dot / dims + 1) ** 3
  }
}

function weightedSum(weights: Float64Array, values: Float64Array, from: number): number {
  let sum = 0
  for (let j = from; j < values.length; j++) sum += weights[j]! * values[j]!
  return sum
}

const total = (weights: Float64Array) => weights.reduce((sum, weight) => sum + weight, 0)
