import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ModelInfo } from '@ddpm/shared'
import { writeAtomically } from '../support/files.ts'
import { type GridOptions, gridGif, gridPng, singlePng } from './grid.ts'

/** Returns whether a path names an animation (.gif), which also shows intermediate samples. */
export function isAnimation(path: string): boolean {
  return path.toLowerCase().endsWith('.gif')
}

/**
 * Writes images. The path determines the format: an animated grid for .gif, single PNGs for a folder or a path that ends
 * in /, otherwise a PNG grid.
 * @param images [count, channels, height, width]
 * @param frames frames of an animation; the last one shows the finished images
 * @returns a summary to print
 */
export async function writeImages(
  path: string,
  images: Float32Array,
  { shape }: Pick<ModelInfo, 'shape'>,
  { scale = 2, ...grid }: GridOptions,
  frames: readonly Float32Array[] = [images],
): Promise<string> {
  const count = images.length / (shape.channels * shape.height * shape.width)
  const written = count === 1 ? '1 image' : `${count} images`
  if (isAnimation(path)) {
    writeAtomically(path, await gridGif(frames, shape, { scale, ...grid }))
    return `Wrote ${written} in ${frames.length} frames to ${path}`
  }
  if (!path.endsWith('/') && !(existsSync(path) && statSync(path).isDirectory())) {
    writeAtomically(path, await gridPng(images, shape, { scale, ...grid }))
    return `Wrote ${written} to ${path}`
  }
  mkdirSync(path, { recursive: true })
  const digits = String(count - 1).length
  for (let i = 0; i < count; i++) {
    const name = `${String(i).padStart(digits, '0')}.png`
    writeAtomically(join(path, name), await singlePng(images, i, shape, scale))
  }
  return `Wrote ${written} to ${path}`
}
