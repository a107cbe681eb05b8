import { existsSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { type ModelInfo, UserError } from '@ddpm/shared'
import { assertWritable, writeAtomically } from '../support/files.ts'
import { type GridOptions, gridGif, gridPng, singlePng } from './grid.ts'

/** Where to write: a PNG grid, a GIF grid animated over the denoising steps, or a folder of single PNGs. */
export interface ImageOutput {
  readonly path: string
  readonly kind: 'grid' | 'animation' | 'folder'
}

/**
 * Checks an output path. .png is a grid, .gif an animation, and an existing folder or a path without extension a folder.
 * @throws UserError if the path has another extension or cannot be written
 */
export function openImageOutput(path: string): ImageOutput {
  const isFolder = path.endsWith('/') || (existsSync(path) && statSync(path).isDirectory())
  const extension = isFolder ? '' : extname(path).toLowerCase()
  const kinds: Partial<Record<string, ImageOutput['kind']>> = {
    '': 'folder',
    '.png': 'grid',
    '.gif': 'animation',
  }
  const kind = kinds[extension]
  if (kind === undefined) {
    throw new UserError(
      `Invalid --out "${path}": expected a .png file for a grid, a .gif file for an animated grid, or a folder for ` +
        `single images, got ${extension}.`,
    )
  }
  assertWritable(path)
  return { path, kind }
}

/** Number of digits in the names of single images: fixed, so that sets from several processes sort and merge. */
const digits = 6

/**
 * Writes images.
 * @param images [count, channels, height, width]
 * @param options.first index of the first image, for the names of single images
 * @param options.scale default: 2 for grids, 1 for single images
 * @param frames frames of an animation; the last one shows the finished images
 * @returns a summary to print
 */
export async function writeImages(
  { path, kind }: ImageOutput,
  images: Float32Array,
  { shape }: Pick<ModelInfo, 'shape'>,
  { first = 0, scale, ...grid }: GridOptions & { readonly first?: number },
  frames: readonly Float32Array[] = [images],
): Promise<string> {
  const count = images.length / (shape.channels * shape.height * shape.width)
  const written = count === 1 ? '1 image' : `${count} images`
  if (kind === 'animation') {
    writeAtomically(path, await gridGif(frames, shape, { scale: scale ?? 2, ...grid }))
    return `Wrote ${written} in ${frames.length} frames to ${path}`
  }
  if (kind === 'grid') {
    writeAtomically(path, await gridPng(images, shape, { scale: scale ?? 2, ...grid }))
    return `Wrote ${written} to ${path}`
  }
  for (let i = 0; i < count; i++) {
    const name = `${String(first + i).padStart(digits, '0')}.png`
    writeAtomically(join(path, name), await singlePng(images, i, shape, scale ?? 1))
  }
  return `Wrote ${written} to ${path}`
}
