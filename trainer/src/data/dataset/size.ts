import { UserError } from '@ddpm/shared'

/** Width and height of images in pixels. */
export interface Size {
  readonly width: number
  readonly height: number
}

/** A recipe's size: the side of square images, or `WIDTHxHEIGHT`. */
export type SizeText = number | string

export const sizePattern = /^[1-9]\d{0,3}x[1-9]\d{0,3}$/

/**
 * Parses a size.
 * @throws UserError if it is neither a positive integer nor WIDTHxHEIGHT
 */
export function parseSize(size: SizeText): Size {
  if (typeof size === 'number' && Number.isInteger(size) && size > 0) return { width: size, height: size }
  if (typeof size === 'string' && sizePattern.test(size)) {
    const [width, height] = size.split('x').map(Number) as [number, number]
    return { width, height }
  }
  throw new UserError(
    `Invalid size ${size}: expected a positive integer or WIDTHxHEIGHT, for example 32 or 64x48.`,
  )
}

/** Formats a size as WIDTHxHEIGHT, or as one number for squares. */
export function formatSize({ width, height }: Size): SizeText {
  return width === height ? width : `${width}x${height}`
}
