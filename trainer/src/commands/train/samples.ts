import { join } from 'node:path'
import { isBuiltIn } from '../../data/open.ts'
import { side } from '../../data/shapes/dataset.ts'
import { parseShape } from '../../data/shapes/parser.ts'
import { gridPng } from '../../image/grid.ts'
import { sample } from '../../inference/sample.ts'
import { modelInfoOf, type RunConfig } from '../../run/run.ts'
import type { Engine } from '../../step/engine.ts'
import { writeAtomically } from '../../support/files.ts'
import { emaNetwork } from '../../training/loop.ts'

/** Number of samples in a grid. */
const count = 16

/**
 * Generates samples with the EMA weights and writes them as a grid into the folder `samples` of a run.
 * @returns the PNG and a log line
 */
export async function writeSampleGrid(
  folder: string,
  config: RunConfig,
  engine: Engine,
  step: number,
): Promise<{ png: Uint8Array; line: string }> {
  const model = modelInfoOf(config)
  const images = await sample(model, emaNetwork(engine), { seed: config.recipe.seed, count })
  const path = join(folder, 'samples', `step-${String(step).padStart(8, '0')}.png`)
  const png = await gridPng(images, model.shape)
  writeAtomically(path, png)
  const quality = isBuiltIn(config.recipe.data) ? `, ${countClean(images)} of ${count} are clean shapes` : ''
  return { png, line: `samples in ${path}${quality}` }
}

/** Counts the samples that the parser of the built-in set recognizes: [count, 3, 32, 32]. */
function countClean(images: Float32Array): number {
  const size = 3 * side * side
  let parsed = 0
  for (let start = 0; start < images.length; start += size) {
    if (parseShape(images.subarray(start, start + size)).shape !== null) parsed += 1
  }
  return parsed
}
