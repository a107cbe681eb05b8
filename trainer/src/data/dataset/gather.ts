import { join } from 'node:path'
import { UserError } from '@ddpm/shared'
import { type Dataset, imageSize, selectLabels } from './dataset.ts'
import { decode, forEachConcurrently } from './decode.ts'

/** Error for an image file that was readable when the training started and cannot be read any more. */
export class MissingImageError extends UserError {}

/**
 * Loads the images at the indices into memory, in that order.
 * @throws MissingImageError
 */
export async function gather(dataset: Dataset, indices: Uint32Array): Promise<Dataset> {
  const size = imageSize(dataset)
  const cachedCount = dataset.pixels.length / size
  const pixels = new Uint8Array(indices.length * size)
  const { files, labels, sources: _, ...properties } = dataset
  const uncached: { path: string; to: number }[] = []
  for (const [to, index] of indices.entries()) {
    if (index >= cachedCount) uncached.push({ path: files!.paths[index - cachedCount]!, to })
    else pixels.set(dataset.pixels.subarray(index * size, (index + 1) * size), to * size)
  }
  await forEachConcurrently(uncached.length, async (i) => {
    const { path, to } = uncached[i]!
    const out = pixels.subarray(to * size, (to + 1) * size)
    await decode(join(files!.folder, path), files!.decoding, out).catch((error: Error) => {
      throw new MissingImageError(
        `Cannot read ${join(files!.folder, path)}: ${error.message}. The file was readable when the training started. ` +
          'Restore it.',
      )
    })
  })
  return { ...properties, count: indices.length, pixels, labels: labels && selectLabels(labels, indices) }
}
