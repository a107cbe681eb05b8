import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { paperSchedule } from '@ddpm/shared'
import { defaultUNet, type UNetConfig } from '../../trainer/src/network/config.ts'
import type { NamedTensors } from '../../trainer/src/network/parameters.ts'
import { decodeSafetensors } from '../../trainer/src/run/safetensors.ts'

/** Results of PyTorch for training steps of a network, see test/reference/README.md. */
export interface Reference {
  readonly config: UNetConfig
  /** State dict before the first step. */
  readonly weights: NamedTensors
  /** Inputs and results of the steps. */
  readonly case: NamedTensors
  /** Options of the optimizer for the five steps. Default: Adam without weight decay and clipping. */
  readonly optimizer: { readonly weightDecay: number; readonly clipNorm: number | null }
  readonly weightsPath: string
}

const referenceFolder = fileURLToPath(new URL('../reference', import.meta.url))

/** Folders of reference cases. The case rgb16 is too large for the repository: DDPM_REFERENCE may name its folder. */
const folders = [
  referenceFolder,
  process.env['DDPM_REFERENCE'],
  join(referenceFolder, '../../../shared/reference'),
]

/** Reads a reference case; returns null if its files are not available. */
export function readReference(name: 'gray16' | 'rgb16' | 'published8' | 'hybrid8'): Reference | null {
  const folder = folders.find(
    (path) => path !== undefined && existsSync(join(path, `${name}.case.safetensors`)),
  )
  if (folder === undefined) return null
  const path = (suffix: string) => join(folder, `${name}.${suffix}`)
  const json = JSON.parse(readFileSync(path('config.json'), 'utf8'))
  return {
    config: {
      ...defaultUNet,
      inputChannels: json.input_channels,
      outputChannels: json.output_channels,
      numResBlocks: json.num_res_blocks,
      baseChannels: json.base_channels,
      channelMultiples: json.base_channels_multiples,
      attention: json.apply_attention,
      dropout: json.dropout_rate,
      timeMultiple: json.time_multiple,
      timesteps: paperSchedule.timesteps,
      ...json.options,
    },
    optimizer: { weightDecay: 0, clipNorm: null, ...json.optimizer },
    weights: decodeSafetensors(readFileSync(path('weights.safetensors')), name).tensors,
    case: decodeSafetensors(readFileSync(path('case.safetensors')), name).tensors,
    weightsPath: path('weights.safetensors'),
  }
}
