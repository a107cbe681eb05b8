import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ModelInfo } from '@ddpm/shared'
import { writeAtomically } from '../support/files.ts'
import { type GridOptions, gridGif, gridPng, singlePng } from './grid.ts'

/** Whether a path asks for the pictures on their way, not only for the finished ones. */
export function isMoving(path: string): boolean {
  return path.toLowerCase().endsWith('.gif')
}

/**
 * Writes pictures as their path asks: .gif is a moving grid, a folder (or a path that ends in /) takes single PNGs,
 * everything else is a grid as PNG.
 * @param pictures [count, channels, height, width]
 * @param frames for a moving grid: pictures on their way, the last ones finished
 * @returns what was written, for people
 */
export async function writeImages(
  path: string,
  images: Float32Array,
  { shape }: Pick<ModelInfo, 'shape'>,
  { scale = 2, ...grid }: GridOptions,
  frames: readonly Float32Array[] = [images],
): Promise<string> {
  const count = images.length / (shape.channels * shape.height * shape.width)
  if (isMoving(path)) {
    writeAtomically(path, await gridGif(frames, shape, { scale, ...grid }))
    return `Wrote ${count} images in ${frames.length} frames to ${path}`
  }
  if (!path.endsWith('/') && !(existsSync(path) && statSync(path).isDirectory())) {
    writeAtomically(path, await gridPng(images, shape, { scale, ...grid }))
    return `Wrote ${count} images to ${path}`
  }
  mkdirSync(path, { recursive: true })
  const digits = String(count - 1).length
  for (let i = 0; i < count; i++) {
    const name = `${String(i).padStart(digits, '0')}.png`
    writeAtomically(join(path, name), await singlePng(images, i, shape, scale))
  }
  return `Wrote ${count} images to ${path}`
}
