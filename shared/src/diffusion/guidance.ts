/**
 * Classifier-free guidance (Ho & Salimans 2022): unconditional + scale·(conditional − unconditional), for each picture
 * on its first `size` numbers; a variance that stands behind them stays the conditional one.
 * @param conditional, unconditional [count, stride], the network's outputs with the class and without;
 *   `conditional` is overwritten
 * @param rescale φ of Lin et al. 2023 (eq. 15 and 16): how far the result is brought back to the spread that the
 *   conditional output has, against the glare of large scales; 0 leaves it
 */
export function guide(
  conditional: Float32Array,
  unconditional: Float32Array,
  { count, size, scale, rescale = 0 }: { count: number; size: number; scale: number; rescale?: number },
): Float32Array {
  const stride = conditional.length / count
  for (let start = 0; start < conditional.length; start += stride) {
    const before = rescale === 0 ? 0 : spread(conditional, start, size)
    for (let i = start; i < start + size; i++) {
      conditional[i] = unconditional[i]! + scale * (conditional[i]! - unconditional[i]!)
    }
    if (rescale === 0) continue
    const after = spread(conditional, start, size)
    if (after === 0) continue
    const factor = rescale * (before / after) + 1 - rescale
    for (let i = start; i < start + size; i++) conditional[i]! *= factor
  }
  return conditional
}

/** Standard deviation of one picture. */
function spread(values: Float32Array, start: number, size: number): number {
  let sum = 0
  for (let i = start; i < start + size; i++) sum += values[i]!
  const mean = sum / size
  let squares = 0
  for (let i = start; i < start + size; i++) squares += (values[i]! - mean) ** 2
  return Math.sqrt(squares / size)
}
