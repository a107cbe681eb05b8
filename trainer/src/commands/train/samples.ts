import { join } from 'node:path'
import { type BuiltInSet, builtInSetOf } from '../../data/built-in.ts'
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
  const builtIn = builtInSetOf(config.recipe.data)
  const quality =
    builtIn === null ? '' : `, ${await countClean(builtIn, images)} of ${count} show ${builtIn.clean}`
  return { png, line: `samples in ${path}${quality}` }
}

/** Counts the samples that the parser of the built-in set recognizes: [count, 3, side, side]. */
async function countClean(set: BuiltInSet, images: Float32Array): Promise<number> {
  const parse = await set.openParser()
  const size = 3 * set.side * set.side
  let clean = 0
  for (let start = 0; start < images.length; start += size) {
    if (parse(images.subarray(start, start + size)).factors !== null) clean += 1
  }
  return clean
}
