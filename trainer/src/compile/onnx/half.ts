import { UserError } from '@ddpm/shared'
// A library is used because the project runs on Node 22, which has no built-in Float16Array.
import { Float16Array } from '@petamoriken/float16'

/**
 * Converts numbers to half precision (IEEE 754 binary16), rounding to nearest, ties to even.
 * @returns the bits of each number
 * @throws UserError for NaN and for numbers that are rounded to more than 65504 in magnitude, the largest half
 */
export function toHalf(values: Float32Array): Uint16Array {
  const overflow = values.find((value) => !(Math.abs(value) < 65520))
  if (overflow !== undefined) {
    throw new UserError(
      `Invalid weight ${overflow} for half precision: expected at most 65504 in magnitude. ` +
        (Number.isNaN(overflow)
          ? 'Export an earlier checkpoint, from before the training diverged.'
          : 'Omit --dtype to export in float32.'),
    )
  }
  const { buffer, byteOffset, length } = new Float16Array(values)
  return new Uint16Array(buffer, byteOffset, length)
}
