import { UserError } from '@ddpm/shared'
import { createGraph } from '../algebra/graph.ts'
import type { Dim, Ops } from '../algebra/ops.ts'
import {
  childScope,
  conv2d,
  groupNorm,
  labelEmbedding,
  linear,
  type ParameterSpec,
  type Parameters,
  type Scope,
  selfAttention,
  sinusoidalEmbedding,
} from './layers.ts'

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
  /** Groups of channels that are normalised together, and what is added to their variance. */
  readonly normGroups: number
  readonly normEps: number
  /** Heads of self-attention. */
  readonly heads: number
  /** Probability of being dropped before the second convolution of a block. */
  readonly dropout: number
  /** What is dropped: whole channels (PyTorch's Dropout2d), or every element on its own. */
  readonly dropoutUnit: 'channel' | 'element'
  /** Where the stride-2 convolutions pad: on all sides, or at the right and bottom only. */
  readonly downsamplePadding: 'around' | 'after'
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
  normGroups: 8,
  normEps: 1e-5,
  heads: 4,
  dropout: 0.1,
  dropoutUnit: 'channel',
  downsamplePadding: 'around',
  timeMultiple: 4,
  zeroInit: false,
  timesteps: 1000,
  classes: 0,
}

const downsamplePaddings = { around: [1, 1, 1, 1], after: [0, 0, 1, 1] } as const

export interface UNetInputs<T> {
  /** [N, inputChannels, H, W] */
  readonly x: T
  /** [N], whole numbers from 0 to timesteps − 1 */
  readonly timestep: T
  /** [N], whole numbers from 0 to classes; null where there are no classes */
  readonly label: T | null
  /** Scales what a block is about to convolve: [N, …shape] with 0 for dropped ones; null does nothing. */
  readonly dropoutMask?: ((block: string, shape: MaskShape) => T | null) | undefined
}

/** Of one picture's dropout mask in a block: [C, 1, 1], or [C, H, W] where elements are dropped on their own. */
export type MaskShape = readonly [number, number, number]

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
    resnetBlock(childScope(root, path), x, embedding, {
      config,
      channels,
      attention,
      mask: inputs.dropoutMask,
    })

  let h = conv2d(childScope(root, 'first'), inputs.x, { outputs: width, kernel: 3 })
  const skips = [h]

  let index = 0
  for (const level of levels) {
    for (let i = 0; i < config.numResBlocks; i++) {
      h = block(`encoder_blocks.${index++}`, h, level.channels, level.attention)
      skips.push(h)
    }
    if (!level.last) {
      const scope = childScope(root, `encoder_blocks.${index++}.downsample`)
      const padding = downsamplePaddings[config.downsamplePadding]
      h = conv2d(scope, h, { outputs: level.channels, kernel: 3, stride: 2, padding })
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
      const scope = childScope(root, `decoder_blocks.${index++}.upsample.1`)
      h = conv2d(scope, ops.upsample2x(h), { outputs: level.channels, kernel: 3 })
    }
  }

  h = ops.silu(groupNorm(childScope(root, 'final.0'), h, normOf(config)))
  return conv2d(childScope(root, 'final.2'), h, {
    outputs: config.outputChannels,
    kernel: 3,
    zero: config.zeroInit,
  })
}

/** Timestep and label as one vector: [N, baseChannels · timeMultiple]. */
function embed<T>(root: Scope<T>, config: UNetConfig, { timestep, label }: UNetInputs<T>): T {
  const { ops } = root
  const outputs = config.baseChannels * config.timeMultiple
  const layer = (name: string) => childScope(root, `time_embeddings.time_blocks.${name}`)
  const rows = sinusoidalEmbedding(layer('0'), timestep, {
    timesteps: config.timesteps,
    columns: config.baseChannels,
  })
  const hidden = ops.silu(linear(layer('1'), rows, { outputs }))
  const time = linear(layer('3'), hidden, { outputs })
  if (label === null) return time
  const scope = childScope(root, 'class_embedding')
  return ops.add(time, labelEmbedding(scope, label, { rows: config.classes + 1, columns: outputs }))
}

function normOf({ normGroups, normEps }: UNetConfig): { groups: number; eps: number } {
  return { groups: normGroups, eps: normEps }
}

interface BlockOptions<T> {
  readonly config: UNetConfig
  readonly channels: number
  readonly attention: boolean
  readonly mask: UNetInputs<T>['dropoutMask']
}

/** Residual block: [N, C, H, W] and the embedding [N, E] → [N, channels, H, W]. */
function resnetBlock<T>(
  scope: Scope<T>,
  x: T,
  embedding: T,
  { config, channels, attention, mask }: BlockOptions<T>,
): T {
  const { ops } = scope
  const norm = normOf(config)
  let h = ops.silu(groupNorm(childScope(scope, 'normalize_1'), x, norm))
  h = conv2d(childScope(scope, 'conv_1'), h, { outputs: channels, kernel: 3 })

  const shift = linear(childScope(scope, 'dense_1'), embedding, { outputs: channels })
  h = ops.add(h, ops.reshape(shift, [ops.shape(x)[0]!, channels, 1, 1]))

  h = ops.silu(groupNorm(childScope(scope, 'normalize_2'), h, norm))
  const [, , height, width] = ops.shape(h) as readonly number[]
  const size: MaskShape = config.dropoutUnit === 'channel' ? [channels, 1, 1] : [channels, height!, width!]
  const keep = mask?.(scope.path, size) ?? null
  if (keep !== null) h = ops.mul(h, keep)
  h = conv2d(childScope(scope, 'conv_2'), h, { outputs: channels, kernel: 3, zero: config.zeroInit })

  const matches = ops.shape(x)[1] === channels
  h = ops.add(h, matches ? x : conv2d(childScope(scope, 'match_input'), x, { outputs: channels, kernel: 1 }))
  return attention ? attentionBlock(childScope(scope, 'attention'), h, config) : h
}

/** x + attention(norm(x)): [N, C, H, W]. */
function attentionBlock<T>(scope: Scope<T>, x: T, config: UNetConfig): T {
  const h = groupNorm(childScope(scope, 'group_norm'), x, normOf(config))
  const { heads, zeroInit: zero } = config
  return scope.ops.add(x, selfAttention(childScope(scope, 'mhsa'), h, { heads, zero }))
}

/** A picture's size, fixed, or with the batch left open. */
export interface ImageShape {
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
  // Parameters are the same at every size: the smallest does.
  const size = 2 ** (config.channelMultiples.length - 1)
  traceUNet(config, { height: size, width: size }, { onParameter: (spec) => specs.push(spec) })
  return specs
}

/** The masks of the blocks that have dropout, in order, as they lie side by side in a picture's row. */
export interface DropoutLayout {
  readonly blocks: ReadonlyMap<
    string,
    { readonly shape: MaskShape; readonly start: number; readonly end: number }
  >
  /** Length of a row; 0 without dropout. */
  readonly size: number
}

export function dropoutLayout(
  config: UNetConfig,
  image: { readonly height: number; readonly width: number },
): DropoutLayout {
  const blocks = new Map<string, { shape: MaskShape; start: number; end: number }>()
  let size = 0
  if (config.dropout > 0) {
    traceUNet(config, image, {
      onDropout(block, shape) {
        const start = size
        size += shape[0] * shape[1] * shape[2]
        blocks.set(block, { shape, start, end: size })
      },
    })
  }
  return { blocks, size }
}

/** Runs the network on shapes alone. */
function traceUNet(
  config: UNetConfig,
  { height, width }: { readonly height: number; readonly width: number },
  {
    onParameter = () => {},
    onDropout = () => {},
  }: { onParameter?: (spec: ParameterSpec) => void; onDropout?: (block: string, shape: MaskShape) => void },
): void {
  const graph = createGraph()
  unet(
    graph.ops,
    config,
    (spec) => {
      onParameter(spec)
      return graph.input(spec.name, spec.shape)
    },
    {
      x: graph.input('x', ['N', config.inputChannels, height, width]),
      timestep: graph.input('timestep', ['N']),
      label: config.classes > 0 ? graph.input('label', ['N']) : null,
      dropoutMask(block, shape) {
        onDropout(block, shape)
        return null
      },
    },
  )
}

/**
 * Refuses arguments that fit no network, and pictures that do not fit the network.
 * @throws UserError naming the argument, what was found and what was expected
 */
export function validateUNet(config: UNetConfig, image?: { height: number; width: number }): void {
  const require = (condition: boolean, name: string, found: unknown, expected: string) => {
    if (!condition) throw new UserError(`Found ${name} ${found}; expected ${expected}.`)
  }
  const whole = [
    'inputChannels',
    'outputChannels',
    'numResBlocks',
    'baseChannels',
    'normGroups',
    'heads',
    'timeMultiple',
    'timesteps',
  ] as const
  for (const name of whole) {
    require(Number.isInteger(config[name]) && config[name] > 0, name, config[
      name
    ], 'a whole number of at least 1')
  }
  const { baseChannels, channelMultiples, attention, dropout, classes, normGroups, normEps, heads } = config
  require(baseChannels % normGroups ===
    0, 'baseChannels', baseChannels, `a multiple of ${normGroups}, for GroupNorm has ${normGroups} groups (normGroups)`)
  require(baseChannels % 4 === 0, 'baseChannels', baseChannels, 'a multiple of 4, for the time embedding')
  require(normEps > 0, 'normEps', normEps, 'above 0')
  require(channelMultiples.length > 0 &&
    channelMultiples.every(
      (multiple) => Number.isInteger(multiple) && multiple > 0,
    ), 'channelMultiples', channelMultiples.join(
    ',',
  ), 'whole numbers of at least 1, one per level, as in 1,2,2')
  require(attention.length ===
    channelMultiples.length, 'attention', `for ${attention.length} levels`, `one value for each of the ${channelMultiples.length} levels of channelMultiples`)
  const attending = channelMultiples.filter((_, i) => attention[i] || i === channelMultiples.length - 1)
  require(attending.every(
    (multiple) => (baseChannels * multiple) % heads === 0,
  ), 'heads', heads, `a divisor of the channels of every level with attention: ${attending.map((multiple) => baseChannels * multiple).join(', ')}`)
  require(dropout >= 0 && dropout < 1, 'dropout', dropout, 'a probability from 0 to below 1')
  require(Number.isInteger(classes) && classes >= 0, 'classes', classes, 'a whole number of at least 0')
  if (image) {
    const multiple = 2 ** (channelMultiples.length - 1)
    require(image.height % multiple === 0 &&
      image.width % multiple ===
        0, 'pictures of', `${image.height}×${image.width}`, `height and width divisible by ${multiple}, for the network halves them ${channelMultiples.length - 1} times; ` +
      'choose another --size or fewer channelMultiples')
  }
}
