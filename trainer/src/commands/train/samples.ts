import { join } from 'node:path'
import { isBuiltIn } from '../../data/open.ts'
import { side } from '../../data/shapes-dataset.ts'
import { parseShape } from '../../data/shapes-parser.ts'
import { gridPng } from '../../image/grid.ts'
import { sample } from '../../inference/sample.ts'
import { modelInfoOf, type RunConfig } from '../../run/run.ts'
import type { Engine } from '../../step/engine.ts'
import { writeAtomically } from '../../support/files.ts'
import { emaNetwork } from '../../training/loop.ts'

const count = 16

/** Draws the grid of a step into `samples`. @returns what to say of it */
export async function drawSamples(
  folder: string,
  config: RunConfig,
  engine: Engine,
  step: number,
): Promise<string> {
  const facts = modelInfoOf(config)
  const images = await sample(facts, emaNetwork(engine), { seed: config.recipe.seed, count })
  const path = join(folder, 'samples', `step-${String(step).padStart(8, '0')}.png`)
  writeAtomically(path, await gridPng(images, facts.shape))
  const judged = isBuiltIn(config.recipe.data) ? `, ${clean(images)} of ${count} clean` : ''
  return `samples in ${path}${judged}`
}

/** How many pictures read as one clean figure of the built-in set: [count, 3, 32, 32]. */
function clean(images: Float32Array): number {
  const size = 3 * side * side
  let parsed = 0
  for (let start = 0; start < images.length; start += size) {
    if (parseShape(images.subarray(start, start + size)).shape !== null) parsed += 1
  }
  return parsed
}
