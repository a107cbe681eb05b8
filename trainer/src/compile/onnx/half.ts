import { UserError } from '@ddpm/shared'

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

/**
 * Numbers in half precision (IEEE 754 binary16), rounded to the nearest, ties to even.
 * @throws UserError for a number beyond ±65504, which half precision ends at
 */
export function toHalf(values: Float32Array): Uint16Array {
  return Uint16Array.from(values, halfOf)
}

function halfOf(value: number): number {
  float[0] = value
  const sign = (bits[0]! >>> 16) & 0x8000
  const magnitude = Math.abs(value)
  if (!(magnitude < 65520)) {
    throw new UserError(
      `Found a weight of ${value}; half precision ends at 65504. Export in float32: leave --dtype out.`,
    )
  }
  // Below 2⁻¹⁴ a half is a multiple of 2⁻²⁴; above, it has ten bits behind the leading one.
  const exponent = magnitude < 2 ** -14 ? -14 : ((bits[0]! >>> 23) & 0xff) - 127
  const steps = roundToEven(magnitude / 2 ** (exponent - 10))
  // The leading one, 1024 steps, counts as one more in the exponent, and so does a carry of the rounding.
  return sign | (((exponent + 14) << 10) + steps)
}

function roundToEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below
}
