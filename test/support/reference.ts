import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { paperSchedule } from '@ddpm/shared'
import type { NamedTensors } from '../../trainer/src/network/parameters.ts'
import { defaultUNet, type UNetConfig } from '../../trainer/src/network/unet.ts'
import { decodeSafetensors } from '../../trainer/src/run/safetensors.ts'

/** A training step of the original network, computed by PyTorch: see test/reference/README.md. */
export interface Reference {
  readonly config: UNetConfig
  readonly weights: NamedTensors
  readonly case: NamedTensors
  /** The optimizer that made the five steps; plain Adam unless told. */
  readonly optimizer: { readonly weightDecay: number; readonly clipNorm: number | null }
  readonly weightsPath: string
}

const here = fileURLToPath(new URL('../reference', import.meta.url))
/** The larger case is not part of the repository; DDPM_REFERENCE names a folder that has it. */
const folders = [here, process.env['DDPM_REFERENCE'], join(here, '../../../shared/reference')]

/** Reads a case, or returns null where its files are not at hand. */
export function readReference(name: 'gray16' | 'rgb16' | 'published8' | 'hybrid8'): Reference | null {
  const folder = folders.find(
    (path) => path !== undefined && existsSync(join(path, `${name}.case.safetensors`)),
  )
  if (folder === undefined) return null
  const path = (suffix: string) => join(folder, `${name}.${suffix}`)
  const given = JSON.parse(readFileSync(path('config.json'), 'utf8'))
  return {
    config: {
      ...defaultUNet,
      inputChannels: given.input_channels,
      outputChannels: given.output_channels,
      numResBlocks: given.num_res_blocks,
      baseChannels: given.base_channels,
      channelMultiples: given.base_channels_multiples,
      attention: given.apply_attention,
      dropout: given.dropout_rate,
      timeMultiple: given.time_multiple,
      timesteps: paperSchedule.timesteps,
      ...given.options,
    },
    optimizer: { weightDecay: 0, clipNorm: null, ...given.optimizer },
    weights: decodeSafetensors(readFileSync(path('weights.safetensors')), name).tensors,
    case: decodeSafetensors(readFileSync(path('case.safetensors')), name).tensors,
    weightsPath: path('weights.safetensors'),
  }
}
