/** What an extractor sees in pictures: [count, dims], row by row. */
export interface Features {
  readonly count: number
  readonly dims: number
  readonly values: Float32Array
}

/** The first rows, as a view. */
export function firstRows({ dims, values }: Features, count: number): Features {
  return { count, dims, values: values.subarray(0, count * dims) }
}

/** ‖a_i − b_j‖² of a row of each. */
export function squaredDistance(a: Features, i: number, b: Features, j: number): number {
  const { dims } = a
  const [from, to] = [i * dims, j * dims]
  let sum = 0
  for (let k = 0; k < dims; k++) sum += (a.values[from + k]! - b.values[to + k]!) ** 2
  return sum
}
