import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Manifest } from '@ddpm/shared'
import { exportModel, exportTfjsModel } from '../../trainer/src/export/export.ts'
import {
  createParameterLayout,
  createTables,
  initialize,
  unflatten,
} from '../../trainer/src/network/parameters.ts'
import { parameterSpecs } from '../../trainer/src/network/unet.ts'
import { type Recipe, recipes } from '../../trainer/src/run/recipes.ts'
import { networkOf, type RunConfig } from '../../trainer/src/run/run.ts'
import { encodeSafetensors } from '../../trainer/src/run/safetensors.ts'
import { initialState } from '../../trainer/src/step/engine.ts'

/** A network to measure: the network of a recipe, for images of the usual size. */
interface Measured {
  readonly recipe: Recipe
  readonly channels: number
  readonly side: number
  readonly classes: number
}

export const measured: Readonly<Record<string, Measured>> = {
  mnist: { recipe: recipes['mnist']!, channels: 1, side: 28, classes: 10 },
  shapes: { recipe: recipes['shapes']!, channels: 3, side: 32, classes: 12 },
  cifar10: { recipe: recipes['cifar10']!, channels: 3, side: 32, classes: 0 },
}

/**
 * One network, written to a folder in three forms: `export/` is this project's export, `tfjs/` is for TensorFlow.js, and
 * `torch.onnx` is PyTorch's export.
 */
export interface WrittenNetwork {
  readonly manifest: Manifest
  readonly parameters: number
  /** Version of PyTorch that wrote `torch.onnx`; null if PyTorch is not installed. */
  readonly torch: string | null
}

/**
 * Writes an untrained network in every form. No layer is initialized to zero, so the output depends on every layer.
 * @param python a Python program with PyTorch, or null
 */
export async function writeNetwork(
  folder: string,
  name: string,
  python: string | null,
): Promise<WrittenNetwork> {
  const { recipe, channels, side, classes } = measured[name]!
  const config: RunConfig = {
    version: 1,
    recipe: { ...recipe, zeroInit: false, dropout: 0 },
    dataset: {
      name,
      count: 0,
      channels,
      height: side,
      width: side,
      classes: Array.from({ length: classes }, (_, i) => `class ${i}`),
    },
  }
  const network = networkOf(config)
  const layout = createParameterLayout(parameterSpecs(network.unet))
  const tables = createTables(layout)
  const values = initialize(layout, 1)
  const progress = { step: 0, seconds: 0, loss: null, validationLoss: null }
  const checkpoint = { progress, state: initialState(values), tables }
  const run = { folder, config }
  const described = {
    name: `bench/${name}`,
    description: 'Untrained.',
    licence: 'CC0-1.0',
    weights: 'raw',
  } as const
  for (const part of ['export', 'tfjs']) mkdirSync(join(folder, part), { recursive: true })
  const manifest = await exportModel(run, checkpoint, {
    ...described,
    folder: join(folder, 'export'),
    preview: 0,
  })
  exportTfjsModel(run, checkpoint, { ...described, folder: join(folder, 'tfjs') })

  const weights = new Map([
    ...unflatten(layout, values),
    ...layout.tables.map(({ name, shape }) => [name, { shape, data: tables.get(name)! }] as const),
  ])
  writeFileSync(join(folder, 'network.json'), JSON.stringify(network))
  writeFileSync(join(folder, 'weights.safetensors'), encodeSafetensors({ tensors: weights, metadata: {} }))
  return { manifest, parameters: layout.size, torch: python && exportWithTorch(folder, python) }
}

function exportWithTorch(folder: string, python: string): string {
  const script = fileURLToPath(new URL('../export.py', import.meta.url))
  const { stdout, stderr } = spawnSync(python, [script, folder], { encoding: 'utf8' })
  if (!existsSync(join(folder, 'torch.onnx')))
    throw new Error(`Cannot export the network with PyTorch: no ONNX file was written.\n${stderr}`)
  return stdout.trim()
}
