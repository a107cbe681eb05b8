/**
 * Computes the peak signal-to-noise ratio in decibels, 10·log₁₀(range²/MSE), of values in [−1, 1].
 * @param b same length as `a`
 */
export function psnr(a: Float32Array, b: Float32Array): number {
  const squares = a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0)
  return 10 * Math.log10(4 / (squares / a.length))
}
