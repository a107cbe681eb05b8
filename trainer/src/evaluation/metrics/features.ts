/** Feature vectors of images, row by row: [count, dims]. */
export interface Features {
  readonly count: number
  readonly dims: number
  readonly values: Float32Array
}

/** Returns the first rows, as a view. */
export function firstRows({ dims, values }: Features, count: number): Features {
  return { count, dims, values: values.subarray(0, count * dims) }
}

/** Computes ‖a_i − b_j‖² of row i of `a` and row j of `b`. */
export function squaredDistance(a: Features, i: number, b: Features, j: number): number {
  const { dims } = a
  const [from, to] = [i * dims, j * dims]
  let sum = 0
  for (let k = 0; k < dims; k++) sum += (a.values[from + k]! - b.values[to + k]!) ** 2
  return sum
}
