import { EigenvalueDecomposition, Matrix } from 'ml-matrix'
import type { Features } from './features.ts'

/** Mean [dims] and covariance [dims, dims] of features. */
export interface Moments {
  readonly mean: Float64Array
  readonly covariance: Matrix
}

/**
 * Computes the Fréchet distance of two Gaussians (Dowson & Landau 1982): ‖μ_a − μ_b‖² + tr(A + B − 2(AB)^½). With
 * features of the Inception network it is FID (Heusel et al. 2017). AB has the same eigenvalues as A^½ B A^½, which is
 * symmetric.
 */
export function frechetDistance(a: Moments, b: Moments): number {
  let between = 0
  a.mean.forEach((value, k) => {
    between += (value - b.mean[k]!) ** 2
  })
  const root = squareRoot(a.covariance)
  const product = root.mmul(b.covariance).mmul(root)
  const symmetric = Matrix.add(product, product.transpose()).mul(0.5)
  const cross = eigen(symmetric).values.reduce((sum, value) => sum + Math.sqrt(value), 0)
  return between + a.covariance.trace() + b.covariance.trace() - 2 * cross
}

/** Computes the square root √C of a covariance matrix. */
function squareRoot(covariance: Matrix): Matrix {
  const { values, vectors } = eigen(covariance)
  const scaled = Matrix.mul(vectors, 1).mulRowVector(values.map(Math.sqrt))
  return scaled.mmul(vectors.transpose())
}

/** Computes eigenvalues and eigenvectors of a positive semidefinite matrix. Negative rounding errors become 0. */
function eigen(matrix: Matrix): { values: number[]; vectors: Matrix } {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(matrix, {
    assumeSymmetric: true,
  })
  return { values: realEigenvalues.map((value) => Math.max(value, 0)), vectors: eigenvectorMatrix }
}

/**
 * Computes the mean and the unbiased covariance (divided by n − 1) of features.
 * @param weights [count], how often each row counts. Default: once.
 */
export function momentsOf({ count, dims, values }: Features, weights?: ArrayLike<number>): Moments {
  const weightOf = (row: number) => weights?.[row] ?? 1
  let total = 0
  const mean = new Float64Array(dims)
  for (let row = 0; row < count; row++) {
    total += weightOf(row)
    for (let k = 0; k < dims; k++) mean[k]! += weightOf(row) * values[row * dims + k]!
  }
  for (let k = 0; k < dims; k++) mean[k]! /= total

  const sums = new Float64Array(dims * dims)
  const centred = new Float64Array(dims)
  for (let row = 0; row < count; row++) {
    const weight = weightOf(row)
    if (weight === 0) continue
    for (let k = 0; k < dims; k++) centred[k] = values[row * dims + k]! - mean[k]!
    for (let i = 0; i < dims; i++) {
      const scaled = weight * centred[i]!
      for (let j = 0; j <= i; j++) sums[i * dims + j]! += scaled * centred[j]!
    }
  }
  const covariance = new Matrix(dims, dims)
  for (let i = 0; i < dims; i++) {
    for (let j = 0; j <= i; j++) {
      const value = sums[i * dims + j]! / (total - 1)
      covariance.set(i, j, value)
      covariance.set(j, i, value)
    }
  }
  return { mean, covariance }
}
