import { UserError } from '@ddpm/shared'
// A library instead of the platform's Float16Array: that is missing in Node 22, which the project runs on.
import { Float16Array } from '@petamoriken/float16'

/**
 * Converts numbers to half precision (IEEE 754 binary16), rounding to nearest, ties to even.
 * @returns the bits of each number
 * @throws UserError for a number that rounds beyond ±65504, the largest half, and for NaN
 */
export function toHalf(values: Float32Array): Uint16Array {
  const overflow = values.find((value) => !(Math.abs(value) < 65520))
  if (overflow !== undefined) {
    throw new UserError(
      `Invalid weight ${overflow} for half precision: expected at most 65504 in magnitude. ` +
        'Omit --dtype to export in float32.',
    )
  }
  const { buffer, byteOffset, length } = new Float16Array(values)
  return new Uint16Array(buffer, byteOffset, length)
}
