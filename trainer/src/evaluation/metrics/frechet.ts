import { EigenvalueDecomposition, Matrix } from 'ml-matrix'
import type { Features } from './features.ts'

/** Of a distribution of features: mean [dims] and covariance [dims, dims]. */
export interface Moments {
  readonly mean: Float64Array
  readonly covariance: Matrix
}

/**
 * Mean and unbiased covariance (divided by n − 1) of features.
 * @param weights [count], how often each row counts: once unless told
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

/** Eigenvalues and -vectors of a symmetric matrix; what rounding makes of a zero eigenvalue is zero again. */
function eigen(matrix: Matrix): { values: number[]; vectors: Matrix } {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(matrix, {
    assumeSymmetric: true,
  })
  return { values: realEigenvalues.map((value) => Math.max(value, 0)), vectors: eigenvectorMatrix }
}

/** √C of a covariance matrix. */
function squareRoot(covariance: Matrix): Matrix {
  const { values, vectors } = eigen(covariance)
  const scaled = Matrix.mul(vectors, 1).mulRowVector(values.map(Math.sqrt))
  return scaled.mmul(vectors.transpose())
}

/**
 * The Fréchet distance of two Gaussians (Dowson & Landau 1982), which is FID where the features are Inception's (Heusel
 * et al. 2017): ‖μ_a − μ_b‖² + tr(A + B − 2(AB)^½). The eigenvalues of AB are those of A^½ B A^½, which is symmetric.
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
