import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { WeightsKind } from '../inference/graph.ts'
import { unflatten } from '../network/parameters.ts'
import type { Checkpoint } from '../run/checkpoint.ts'
import { layoutOfRun, modelInfoOf, networkOf, type Run } from '../run/run.ts'
import { encodeSafetensors } from '../run/safetensors.ts'
import { writeAtomically } from '../support/files.ts'
import { findObstacle, toDiffusersConfig, toDiffusersTensors } from './diffusers-unet.ts'

/** Every file that `exportPytorch` may write, below its folder. */
const paths = [
  'model_index.json',
  'scheduler/scheduler_config.json',
  'unet/config.json',
  'unet/diffusion_pytorch_model.safetensors',
  'config.json',
  'model.safetensors',
] as const
type Path = (typeof paths)[number]

/** What `exportPytorch` wrote. */
export interface PytorchExport {
  readonly files: readonly { readonly path: string; readonly bytes: number }[]
  /** Why diffusers' UNet2DModel cannot represent the network; null if it can. */
  readonly obstacle: string | null
}

/**
 * Writes the weights for PyTorch, and removes those of an earlier export:
 *
 * - in the layout of diffusers, if its `UNet2DModel` represents the network exactly: `unet/`, `scheduler/` and, for a
 *   model without classes, `model_index.json` of a `DDPMPipeline`
 * - else `model.safetensors` with the names of the original PyTorch network, and `config.json` with its arguments
 */
export function exportPytorch(
  { config }: Run,
  { state, tables }: Checkpoint,
  { folder, weights }: { readonly folder: string; readonly weights: WeightsKind },
): PytorchExport {
  for (const path of paths) rmSync(join(folder, path), { force: true })
  const files: { path: string; bytes: number }[] = []
  const write = (path: Path, content: Uint8Array | string) => {
    writeAtomically(join(folder, path), content)
    files.push({ path, bytes: Buffer.byteLength(content) })
  }
  const writeJson = (path: Path, value: unknown) => write(path, `${JSON.stringify(value, null, 2)}\n`)

  const network = networkOf(config)
  const tensors = unflatten(layoutOfRun(config), weights === 'ema' ? state.ema : state.parameters)
  // PyTorch's libraries reject files without this entry.
  const metadata = { format: 'pt' }
  const obstacle = findObstacle(network.unet, tables)
  if (obstacle !== null) {
    const shaped = tablesAsTensors(tables, network.unet.timesteps)
    write('model.safetensors', encodeSafetensors({ tensors: new Map([...tensors, ...shaped]), metadata }))
    writeJson('config.json', { ...network.unet, diffusersObstacle: obstacle })
    return { files, obstacle }
  }
  const renamed = toDiffusersTensors(network.unet, tensors)
  write('unet/diffusion_pytorch_model.safetensors', encodeSafetensors({ tensors: renamed, metadata }))
  writeJson('unet/config.json', toDiffusersConfig(network))
  const { scheduler } = modelInfoOf(config)
  writeJson('scheduler/scheduler_config.json', scheduler)
  // diffusers has no pipeline for a UNet2DModel with classes.
  if (network.unet.classes === 0) {
    writeJson('model_index.json', {
      _class_name: 'DDPMPipeline',
      _diffusers_version: scheduler._diffusers_version,
      scheduler: ['diffusers', scheduler._class_name],
      unet: ['diffusers', 'UNet2DModel'],
    })
  }
  return { files, obstacle }
}

function tablesAsTensors(tables: Checkpoint['tables'], rows: number) {
  return [...tables].map(([name, data]) => [name, { shape: [rows, data.length / rows], data }] as const)
}
