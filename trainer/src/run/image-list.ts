import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as z from 'zod'
import { type Dataset, type ImageSource, imageSize } from '../data/dataset/dataset.ts'
import { writeAtomically } from '../support/files.ts'
import { summarize } from '../support/summarize.ts'

// The list of the images that a run is trained on. A resumed run reports with it that images were exchanged.

const fileName = 'images.jsonl'
const entry = z.object({ path: z.string(), sha1: z.string() })

/** Lists the images of a dataset. Those of a file have their index as path. */
export function listImagesOf(dataset: Dataset): readonly ImageSource[] {
  const size = imageSize(dataset)
  return (
    dataset.sources ??
    Array.from({ length: dataset.count }, (_, index) => ({
      path: `image ${index}`,
      sha1: createHash('sha1')
        .update(dataset.pixels.subarray(index * size, (index + 1) * size))
        .digest('base64'),
    }))
  )
}

export function writeImageList(folder: string, images: readonly ImageSource[]): void {
  writeAtomically(join(folder, fileName), images.map((image) => `${JSON.stringify(image)}\n`).join(''))
}

/** Returns the images that a run was started with, or null if the run has no readable list of them. */
export function readImageList(folder: string): ImageSource[] | null {
  try {
    const lines = readFileSync(join(folder, fileName), 'utf8').trimEnd().split('\n')
    return lines.map((line) => entry.parse(JSON.parse(line)))
  } catch {
    return null
  }
}

/** Describes which images changed, for example "2 changed (a.png, b.png), 1 added (c.png)". null: none */
export function describeChanges(
  before: readonly ImageSource[],
  after: readonly ImageSource[],
): string | null {
  const hashes = (images: readonly ImageSource[]) => new Map(images.map(({ path, sha1 }) => [path, sha1]))
  const [old, present] = [hashes(before), hashes(after)]
  const oldPaths = [...old.keys()]
  const groups = {
    changed: oldPaths.filter((path) => present.has(path) && present.get(path) !== old.get(path)),
    removed: oldPaths.filter((path) => !present.has(path)),
    added: [...present.keys()].filter((path) => !old.has(path)),
  }
  const parts = Object.entries(groups)
    .filter(([, paths]) => paths.length > 0)
    .map(([change, paths]) => `${paths.length.toLocaleString('en')} ${change} (${summarize(paths)})`)
  return parts.length === 0 ? null : parts.join(', ')
}
