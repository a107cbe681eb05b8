import { join } from 'node:path'
import type { Dataset } from '../../trainer/src/data/dataset/dataset.ts'
import { createOnnxruntimeEngine } from '../../trainer/src/engines/onnxruntime.ts'
import { exportModel } from '../../trainer/src/export/export.ts'
import { createParameterLayout, createTables, initialize } from '../../trainer/src/network/parameters.ts'
import { parameterSpecs } from '../../trainer/src/network/unet.ts'
import { saveCheckpoint } from '../../trainer/src/run/checkpoint.ts'
import { type Recipe, recipes } from '../../trainer/src/run/recipes.ts'
import {
  networkOf,
  openCheckpoint,
  type RunConfig,
  stepOf,
  writeRunConfig,
} from '../../trainer/src/run/run.ts'
import { initialState } from '../../trainer/src/step/engine.ts'
import { train } from '../../trainer/src/training/loop.ts'

/** Creates a tiny dataset of light and orange discs on a dark background, with the classes "light" and "warm". */
export function discs(count: number, side: number): Dataset {
  const pixels = new Uint8Array(count * 3 * side * side)
  const labels = new Uint16Array(count)
  for (let i = 0; i < count; i++) {
    labels[i] = i % 2
    const [cx, cy, radius] = [side / 3 + (i % 7), side / 3 + (i % 6), side / 5 + (i % 3)]
    const colour = labels[i] === 0 ? [230, 230, 230] : [240, 120, 40]
    for (let pixel = 0; pixel < side * side; pixel++) {
      const inside = (pixel % side) - cx
      const covered = inside ** 2 + (Math.floor(pixel / side) - cy) ** 2 < radius ** 2
      for (let c = 0; c < 3; c++) pixels[(i * 3 + c) * side * side + pixel] = covered ? colour[c]! : 20
    }
  }
  return {
    name: 'discs',
    channels: 3,
    height: side,
    width: side,
    count,
    classes: ['light', 'warm'],
    pixels,
    labels,
  }
}

const tiny: Recipe & { size: number } = {
  ...recipes['shapes']!,
  recipe: 'discs',
  data: 'discs',
  size: 16,
  baseChannels: 8,
  channelMultiples: [1, 2],
  attention: [false, true],
  steps: 60,
  batchSize: 16,
  warmup: 10,
  emaDecay: 0.9,
}

/** Trains a tiny network for a few steps and saves it as a run. Default: 16×16 RGB with two classes. */
export async function trainTinyRun(folder: string, changes: Partial<typeof tiny> = {}): Promise<void> {
  const recipe = { ...tiny, ...changes }
  const dataset = discs(64, recipe.size)
  const { name, count, channels, height, width, classes } = dataset
  const config: RunConfig = {
    version: 1,
    recipe,
    dataset: { name, count, channels, height, width, classes },
  }
  const network = networkOf(config)
  const layout = createParameterLayout(parameterSpecs(network.unet))
  const tables = createTables(layout)
  const engine = await createOnnxruntimeEngine(stepOf(config), tables, initialState(initialize(layout, 1)))
  let loss = 0
  await train(engine, dataset, network.unet, recipe, {
    from: 0,
    onStep(report) {
      loss = report.loss
      return false
    },
  })
  writeRunConfig(folder, config)
  saveCheckpoint(folder, layout, {
    progress: { step: recipe.steps, seconds: 1, loss, validationLoss: null },
    state: await engine.state(),
    tables,
  })
  await engine.dispose()
}

/** Trains a tiny model and exports it as `npm run export` does: manifest.json, model.onnx and preview.png in `folder`. */
export async function exportTinyModel(folder: string, changes: Partial<typeof tiny> = {}): Promise<void> {
  const runFolder = join(folder, '..', 'run')
  await trainTinyRun(runFolder, changes)
  const { run, checkpoint } = openCheckpoint(runFolder)
  await exportModel(run, checkpoint, {
    folder,
    name: 'test/discs',
    description: 'Discs.',
    licence: 'CC0-1.0',
    weights: 'ema',
    preview: 4,
  })
}
