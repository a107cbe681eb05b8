/**
 * Returns a quantile, interpolated linearly between order statistics (the default of NumPy and PyTorch).
 * @param values [count], in any order; count ≥ 1
 * @param p from 0 to 1
 */
export function quantile(values: ArrayLike<number>, p: number): number {
  return quantileOfSorted(Float64Array.from(values).sort(), p)
}

/** Returns the median: the middle value, or the mean of the two middle values. */
export function median(values: ArrayLike<number>): number {
  return quantile(values, 0.5)
}

/** Returns a quantile of values in ascending order, like `quantile`, but without allocating memory. */
export function quantileOfSorted(sorted: ArrayLike<number>, p: number): number {
  const position = p * (sorted.length - 1)
  const below = Math.floor(position)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below]! + (position - below) * (sorted[above]! - sorted[below]!)
}
