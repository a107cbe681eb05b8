import type { UNetConfig } from '../network/config.ts'
import type { NamedTensors } from '../network/parameters.ts'
import type { NetworkSpec } from '../step/spec.ts'

/** Arguments of diffusers' `UNet2DModel`, as in its config.json. */
export type DiffusersConfig = Readonly<Record<string, unknown>>

/**
 * Returns why `UNet2DModel` cannot represent a network exactly, or null if it can.
 * @param tables the network's tables by name
 */
export function findObstacle(unet: UNetConfig, tables: ReadonlyMap<string, Float32Array>): string | null {
  const { baseChannels, channelMultiples, heads } = unet
  if (channelMultiples[0] !== 1) {
    return (
      `its first level has ${channelMultiples[0]} times as many channels as its first convolution ` +
      '(UNet2DModel: the same number)'
    )
  }
  const channels = attentionChannels(unet)
  if (heads > 1 && channels.size > 1) {
    return (
      `its attention has ${heads} heads at levels of ${[...channels].join(' and ')} channels ` +
      '(UNet2DModel: the same number of channels per head at every level)'
    )
  }
  const table = tables.get('time_embeddings.time_blocks.0.weight')!
  const difference = table.findIndex((value, i) => {
    const [row, column] = [Math.floor(i / baseChannels), i % baseChannels]
    return Math.abs(value - positionalEmbedding(row, column, baseChannels)) > tableTolerance
  })
  return difference < 0 ? null : 'its time embedding has a custom table (UNet2DModel: sines and cosines)'
}

/** diffusers computes the angles, up to T, in float32. */
const tableTolerance = 1e-3

/** Entry of diffusers' `Timesteps(columns, flip_sin_to_cos=False, downscale_freq_shift=1)`. */
function positionalEmbedding(timestep: number, column: number, columns: number): number {
  const half = columns / 2
  const angle = timestep * Math.exp((-Math.log(10000) * (column % half)) / (half - 1))
  return column < half ? Math.sin(angle) : Math.cos(angle)
}

/** Returns the numbers of channels of the levels with attention, including the bottleneck. */
function attentionChannels({ baseChannels, channelMultiples, attention }: UNetConfig): Set<number> {
  const last = channelMultiples.length - 1
  const multiples = channelMultiples.filter((_, level) => attention[level] || level === last)
  return new Set(multiples.map((multiple) => baseChannels * multiple))
}

/** Returns the arguments of the `UNet2DModel` that equals a network without obstacles. */
export function toDiffusersConfig({ unet, height, width }: NetworkSpec): DiffusersConfig {
  const { baseChannels, channelMultiples, attention, heads, timeMultiple, classes } = unet
  const [channels] = attentionChannels(unet)
  const blocks = (direction: 'Down' | 'Up') =>
    attention.map((attends) => `${attends ? 'Attn' : ''}${direction}Block2D`)
  return {
    _class_name: 'UNet2DModel',
    _diffusers_version: '0.35.0',
    sample_size: height === width ? height : [height, width],
    in_channels: unet.inputChannels,
    out_channels: unet.outputChannels,
    center_input_sample: false,
    time_embedding_type: 'positional',
    // null means 4 times the channels of the first level. Older versions accept nothing else.
    time_embedding_dim: timeMultiple === 4 ? null : baseChannels * timeMultiple,
    freq_shift: 1,
    flip_sin_to_cos: false,
    down_block_types: blocks('Down'),
    mid_block_type: 'UNetMidBlock2D',
    up_block_types: blocks('Up').toReversed(),
    block_out_channels: channelMultiples.map((multiple) => baseChannels * multiple),
    layers_per_block: unet.numResBlocks,
    mid_block_scale_factor: 1,
    // 0 pads at the right and the bottom.
    downsample_padding: unet.downsamplePadding === 'around' ? 1 : 0,
    downsample_type: 'conv',
    upsample_type: 'conv',
    dropout: unet.dropout,
    act_fn: 'silu',
    // null means one head.
    attention_head_dim: heads === 1 ? null : channels! / heads,
    norm_num_groups: unet.normGroups,
    attn_norm_num_groups: null,
    norm_eps: unet.normEps,
    resnet_time_scale_shift: 'default',
    add_attention: true,
    class_embed_type: null,
    // The last row is "no class".
    num_class_embeds: classes > 0 ? classes + 1 : null,
    num_train_timesteps: null,
  }
}

/** Renames the parameters of a network to those of `UNet2DModel`, and splits the projections of its attention. */
export function toDiffusersTensors(unet: UNetConfig, tensors: NamedTensors): NamedTensors {
  const modules = moduleNames(unet)
  const renamed = new Map<string, { shape: readonly number[]; data: Float32Array }>()
  for (const [name, { shape, data }] of tensors) {
    const [, module, leaf] = /^(.*)\.([^.]+)$/.exec(name)!
    const inProjection = /^in_proj_(weight|bias)$/.exec(leaf!)?.[1]
    if (inProjection === undefined) {
      renamed.set(`${modules.get(module!)}.${leaf}`, { shape, data })
      continue
    }
    const [rows, ...columns] = shape as [number, ...number[]]
    for (const [part, layer] of ['to_q', 'to_k', 'to_v'].entries()) {
      renamed.set(`${modules.get(module!)}.${layer}.${inProjection}`, {
        shape: [rows / 3, ...columns],
        data: data.subarray((part * data.length) / 3, ((part + 1) * data.length) / 3),
      })
    }
  }
  return renamed
}

/** Returns the name in `UNet2DModel` of every module of a network that has parameters. */
function moduleNames({ channelMultiples, numResBlocks }: UNetConfig): Map<string, string> {
  const names = new Map([
    ['first', 'conv_in'],
    ['time_embeddings.time_blocks.1', 'time_embedding.linear_1'],
    ['time_embeddings.time_blocks.3', 'time_embedding.linear_2'],
    ['class_embedding', 'class_embedding'],
    ['final.0', 'conv_norm_out'],
    ['final.2', 'conv_out'],
  ])
  const addBlock = (ours: string, theirs: string, index: number) => {
    for (const [name, other] of Object.entries(blockModules)) {
      names.set(`${ours}.${name}`, `${theirs}.${other.replace('*', String(index))}`)
    }
  }
  const levels = channelMultiples.length
  for (let level = 0, index = 0; level < levels; level++) {
    for (let i = 0; i < numResBlocks; i++) addBlock(`encoder_blocks.${index++}`, `down_blocks.${level}`, i)
    if (level < levels - 1) {
      names.set(`encoder_blocks.${index++}.downsample`, `down_blocks.${level}.downsamplers.0.conv`)
    }
  }
  for (const i of [0, 1]) addBlock(`bottleneck_blocks.${i}`, 'mid_block', i)
  for (let level = 0, index = 0; level < levels; level++) {
    for (let i = 0; i <= numResBlocks; i++) addBlock(`decoder_blocks.${index++}`, `up_blocks.${level}`, i)
    if (level < levels - 1) {
      names.set(`decoder_blocks.${index++}.upsample.1`, `up_blocks.${level}.upsamplers.0.conv`)
    }
  }
  return names
}

/** Modules of a residual block with attention, here and in diffusers. */
const blockModules = {
  normalize_1: 'resnets.*.norm1',
  conv_1: 'resnets.*.conv1',
  dense_1: 'resnets.*.time_emb_proj',
  normalize_2: 'resnets.*.norm2',
  conv_2: 'resnets.*.conv2',
  match_input: 'resnets.*.conv_shortcut',
  'attention.group_norm': 'attentions.*.group_norm',
  'attention.mhsa': 'attentions.*',
  'attention.mhsa.out_proj': 'attentions.*.to_out.0',
}
