import { UserError } from '@ddpm/shared'
import { createGraph } from './graph.ts'
import {
  conv2d,
  groupNorm,
  inside,
  labelEmbedding,
  linear,
  type ParameterSpec,
  type Parameters,
  type Scope,
  selfAttention,
  sinusoidalEmbedding,
} from './layers.ts'
import type { Dim, Ops } from './ops.ts'

/** The arguments of the network. */
export interface UNetConfig {
  readonly inputChannels: number
  readonly outputChannels: number
  /** Residual blocks per level going down; one more going up. */
  readonly numResBlocks: number
  readonly baseChannels: number
  /** Channels of each level as a multiple of baseChannels; each further level halves the picture. */
  readonly channelMultiples: readonly number[]
  /** Which levels have self-attention in their blocks. */
  readonly attention: readonly boolean[]
  /** Probability that a channel is dropped before the second convolution of a block. */
  readonly dropout: number
  /** Width of the time embedding as a multiple of baseChannels. */
  readonly timeMultiple: number
  /** Starts second convolutions, attention outputs and the last convolution at zero, as the published network does. */
  readonly zeroInit: boolean
  /** Number of timesteps that the time embedding knows. */
  readonly timesteps: number
  /** Number of classes; with any, a label enters with the time embedding and the label `classes` means none. */
  readonly classes: number
}

export const defaultUNet: UNetConfig = {
  inputChannels: 3,
  outputChannels: 3,
  numResBlocks: 2,
  baseChannels: 64,
  channelMultiples: [1, 2, 2, 4],
  attention: [false, false, true, false],
  dropout: 0.1,
  timeMultiple: 4,
  zeroInit: false,
  timesteps: 1000,
  classes: 0,
}

/** GroupNorm and attention as in the seed: 8 groups, PyTorch's eps, 4 heads. */
const norm = { groups: 8, eps: 1e-5 }
const heads = 4

export interface UNetInputs<T> {
  /** [N, inputChannels, H, W] */
  readonly x: T
  /** [N], whole numbers from 0 to timesteps − 1 */
  readonly timestep: T
  /** [N], whole numbers from 0 to classes; null where there are no classes */
  readonly label: T | null
  /** Scales a block's channels: [N, C, 1, 1] with 0 for dropped ones; null does nothing. See dropoutChannels. */
  readonly dropoutMask?: ((block: string, channels: number) => T | null) | undefined
}

/**
 * The U-Net: [N, inputChannels, H, W] → [N, outputChannels, H, W].
 *
 * H and W must be divisible by 2^(levels − 1). Parameter names are those of the original PyTorch module.
 */
export function unet<T>(
  ops: Ops<T>,
  config: UNetConfig,
  parameters: Parameters<T>,
  inputs: UNetInputs<T>,
): T {
  const root: Scope<T> = { ops, parameters, path: '' }
  const width = config.baseChannels
  const levels = config.channelMultiples.map((multiple, level) => ({
    channels: width * multiple,
    attention: config.attention[level]!,
    last: level === config.channelMultiples.length - 1,
    first: level === 0,
  }))
  const embedding = ops.silu(embed(root, config, inputs))
  const block = (path: string, x: T, channels: number, attention: boolean) =>
    resnetBlock(inside(root, path), x, embedding, {
      ...config,
      channels,
      attention,
      mask: inputs.dropoutMask,
    })

  let h = conv2d(inside(root, 'first'), inputs.x, { outputs: width, kernel: 3 })
  const skips = [h]

  let index = 0
  for (const level of levels) {
    for (let i = 0; i < config.numResBlocks; i++) {
      h = block(`encoder_blocks.${index++}`, h, level.channels, level.attention)
      skips.push(h)
    }
    if (!level.last) {
      const scope = inside(root, `encoder_blocks.${index++}.downsample`)
      h = conv2d(scope, h, { outputs: level.channels, kernel: 3, stride: 2, padding: [1, 1, 1, 1] })
      skips.push(h)
    }
  }

  const bottleneck = ops.shape(h)[1] as number
  h = block('bottleneck_blocks.0', h, bottleneck, true)
  h = block('bottleneck_blocks.1', h, bottleneck, false)

  index = 0
  for (const level of levels.toReversed()) {
    for (let i = 0; i <= config.numResBlocks; i++) {
      h = block(
        `decoder_blocks.${index++}`,
        ops.concat([h, skips.pop()!], 1),
        level.channels,
        level.attention,
      )
    }
    if (!level.first) {
      const scope = inside(root, `decoder_blocks.${index++}.upsample.1`)
      h = conv2d(scope, ops.upsample2x(h), { outputs: level.channels, kernel: 3 })
    }
  }

  h = ops.silu(groupNorm(inside(root, 'final.0'), h, norm))
  return conv2d(inside(root, 'final.2'), h, {
    outputs: config.outputChannels,
    kernel: 3,
    zero: config.zeroInit,
  })
}

/** Timestep and label as one vector: [N, baseChannels · timeMultiple]. */
function embed<T>(root: Scope<T>, config: UNetConfig, { timestep, label }: UNetInputs<T>): T {
  const { ops } = root
  const outputs = config.baseChannels * config.timeMultiple
  const layer = (name: string) => inside(root, `time_embeddings.time_blocks.${name}`)
  const rows = sinusoidalEmbedding(layer('0'), timestep, {
    timesteps: config.timesteps,
    columns: config.baseChannels,
  })
  const hidden = ops.silu(linear(layer('1'), rows, { outputs }))
  const time = linear(layer('3'), hidden, { outputs })
  if (label === null) return time
  const scope = inside(root, 'class_embedding')
  return ops.add(time, labelEmbedding(scope, label, { rows: config.classes + 1, columns: outputs }))
}

interface BlockOptions<T> {
  readonly channels: number
  readonly attention: boolean
  readonly zeroInit: boolean
  readonly mask: UNetInputs<T>['dropoutMask']
}

/** Residual block: [N, C, H, W] and the embedding [N, E] → [N, channels, H, W]. */
function resnetBlock<T>(
  scope: Scope<T>,
  x: T,
  embedding: T,
  { channels, attention, zeroInit, mask }: BlockOptions<T>,
): T {
  const { ops } = scope
  let h = ops.silu(groupNorm(inside(scope, 'normalize_1'), x, norm))
  h = conv2d(inside(scope, 'conv_1'), h, { outputs: channels, kernel: 3 })

  const shift = linear(inside(scope, 'dense_1'), embedding, { outputs: channels })
  h = ops.add(h, ops.reshape(shift, [ops.shape(x)[0]!, channels, 1, 1]))

  h = ops.silu(groupNorm(inside(scope, 'normalize_2'), h, norm))
  const keep = mask?.(scope.path, channels) ?? null
  if (keep !== null) h = ops.mul(h, keep)
  h = conv2d(inside(scope, 'conv_2'), h, { outputs: channels, kernel: 3, zero: zeroInit })

  const matches = ops.shape(x)[1] === channels
  h = ops.add(h, matches ? x : conv2d(inside(scope, 'match_input'), x, { outputs: channels, kernel: 1 }))
  return attention ? attentionBlock(inside(scope, 'attention'), h, zeroInit) : h
}

/** x + attention(norm(x)): [N, C, H, W]. */
function attentionBlock<T>(scope: Scope<T>, x: T, zero: boolean): T {
  const h = groupNorm(inside(scope, 'group_norm'), x, norm)
  return scope.ops.add(x, selfAttention(inside(scope, 'mhsa'), h, { heads, zero }))
}

/** A picture's size, fixed, or with the batch left open. */
export interface PictureShape {
  readonly batch: Dim
  readonly height: number
  readonly width: number
}

/**
 * Everything the network asks for, in the order it asks: read off the network itself.
 * @throws UserError for arguments that fit no network
 */
export function parameterSpecs(config: UNetConfig): ParameterSpec[] {
  validateUNet(config)
  const specs: ParameterSpec[] = []
  traceUNet(config, (spec) => specs.push(spec))
  return specs
}

/** The blocks that have dropout and how many channels each drops from, in order. */
export function dropoutChannels(config: UNetConfig): { block: string; channels: number }[] {
  const blocks: { block: string; channels: number }[] = []
  traceUNet(
    config,
    () => {},
    (block, channels) => blocks.push({ block, channels }),
  )
  return blocks
}

/** Runs the network on shapes alone, at the smallest picture it takes. */
function traceUNet(
  config: UNetConfig,
  onParameter: (spec: ParameterSpec) => void,
  onDropout: (block: string, channels: number) => void = () => {},
): void {
  const graph = createGraph()
  const size = 2 ** (config.channelMultiples.length - 1)
  unet(
    graph.ops,
    config,
    (spec) => {
      onParameter(spec)
      return graph.input(spec.name, spec.shape)
    },
    {
      x: graph.input('x', ['N', config.inputChannels, size, size]),
      timestep: graph.input('timestep', ['N']),
      label: config.classes > 0 ? graph.input('label', ['N']) : null,
      dropoutMask(block, channels) {
        onDropout(block, channels)
        return null
      },
    },
  )
}

/**
 * Refuses arguments that fit no network, and pictures that do not fit the network.
 * @throws UserError naming the argument, what was found and what was expected
 */
export function validateUNet(config: UNetConfig, picture?: { height: number; width: number }): void {
  const require = (condition: boolean, name: string, found: unknown, expected: string) => {
    if (!condition) throw new UserError(`Found ${name} ${found}; expected ${expected}.`)
  }
  const whole = [
    'inputChannels',
    'outputChannels',
    'numResBlocks',
    'baseChannels',
    'timeMultiple',
    'timesteps',
  ] as const
  for (const name of whole) {
    require(Number.isInteger(config[name]) && config[name] > 0, name, config[
      name
    ], 'a whole number of at least 1')
  }
  const { baseChannels, channelMultiples, attention, dropout, classes } = config
  require(baseChannels % 8 === 0, 'baseChannels', baseChannels, 'a multiple of 8, for GroupNorm has 8 groups')
  require(baseChannels >= 8, 'baseChannels', baseChannels, 'at least 8')
  require(channelMultiples.length > 0 &&
    channelMultiples.every(
      (multiple) => Number.isInteger(multiple) && multiple > 0,
    ), 'channelMultiples', channelMultiples.join(
    ',',
  ), 'whole numbers of at least 1, one per level, as in 1,2,2')
  require(attention.length ===
    channelMultiples.length, 'attention', `for ${attention.length} levels`, `one value for each of the ${channelMultiples.length} levels of channelMultiples`)
  require(dropout >= 0 && dropout < 1, 'dropout', dropout, 'a probability from 0 to below 1')
  require(Number.isInteger(classes) && classes >= 0, 'classes', classes, 'a whole number of at least 0')
  if (picture) {
    const multiple = 2 ** (channelMultiples.length - 1)
    require(picture.height % multiple === 0 &&
      picture.width % multiple ===
        0, 'pictures of', `${picture.height}×${picture.width}`, `height and width divisible by ${multiple}, for the network halves them ${channelMultiples.length - 1} times; ` +
      'choose another --size or fewer channelMultiples')
  }
}
