/**
 * Applies classifier-free guidance (Ho & Salimans 2022): unconditional + scale·(conditional − unconditional). Only the
 * first `size` values of each image are changed. Predicted variances follow them and remain those of the conditional output.
 * @param conditional [count, stride], the model's output with the class; overwritten and returned
 * @param unconditional [count, stride], the model's output without a class
 * @param rescale φ of Lin et al. 2023 (eq. 15 and 16), 0 to 1: rescales the result towards the standard deviation of
 *   the conditional output, which prevents overexposed images at large scales. 0 disables it.
 */
export function applyGuidance(
  conditional: Float32Array,
  unconditional: Float32Array,
  { count, size, scale, rescale = 0 }: { count: number; size: number; scale: number; rescale?: number },
): Float32Array {
  const stride = conditional.length / count
  for (let start = 0; start < conditional.length; start += stride) {
    const before = rescale === 0 ? 0 : standardDeviation(conditional, start, size)
    for (let i = start; i < start + size; i++) {
      conditional[i] = unconditional[i]! + scale * (conditional[i]! - unconditional[i]!)
    }
    if (rescale === 0) continue
    const after = standardDeviation(conditional, start, size)
    if (after === 0) continue
    const factor = rescale * (before / after) + 1 - rescale
    for (let i = start; i < start + size; i++) conditional[i]! *= factor
  }
  return conditional
}

/** Standard deviation of the `size` values from `start`. */
function standardDeviation(values: Float32Array, start: number, size: number): number {
  let sum = 0
  for (let i = start; i < start + size; i++) sum += values[i]!
  const mean = sum / size
  let squares = 0
  for (let i = start; i < start + size; i++) squares += (values[i]! - mean) ** 2
  return Math.sqrt(squares / size)
}
