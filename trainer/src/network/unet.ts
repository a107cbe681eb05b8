import { createGraph } from '../algebra/graph.ts'
import type { Ops } from '../algebra/ops.ts'
import { type UNetConfig, validateUNet } from './config.ts'
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

/**
 * Computes the model's output for noisy images (Ho et al. 2020, appendix B): a U-Net with residual blocks and
 * self-attention, conditioned on the timestep and optionally on a class label.
 *
 * With B base channels, Cₗ = B · channelMultiples[l], and Hₗ = H / 2ˡ, Wₗ = W / 2ˡ at level l of L:
 *
 * | stage                 | output shape                                                                |
 * | --------------------- | --------------------------------------------------------------------------- |
 * | input x               | [N, inputChannels, H, W]                                                    |
 * | embedding             | [N, B · timeMultiple]                                                       |
 * | first convolution     | [N, B, H, W]                                                                |
 * | encoder, level l      | numResBlocks × [N, Cₗ, Hₗ, Wₗ]; before the next level [N, Cₗ, Hₗ₊₁, Wₗ₊₁]   |
 * | bottleneck            | 2 × [N, C_{L−1}, H_{L−1}, W_{L−1}]                                          |
 * | decoder, level l      | (numResBlocks + 1) × [N, Cₗ, Hₗ, Wₗ]; before the next [N, Cₗ, Hₗ₋₁, Wₗ₋₁]   |
 * | norm, convolution     | [N, outputChannels, H, W]                                                   |
 *
 * Parameters have the names of the original PyTorch network (docs/training.md). H and W must be divisible by 2^(L − 1).
 *
 * @returns [N, outputChannels, H, W]
 */
export function unet<T>(
  ops: Ops<T>,
  config: UNetConfig,
  parameters: Parameters<T>,
  inputs: UNetInputs<T>,
): T {
  const root: Scope<T> = { ops, parameters, path: '' }
  const { baseChannels, numResBlocks } = config
  const levels = config.channelMultiples.map((multiple, level) => ({
    channels: baseChannels * multiple,
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
      dropoutMask: inputs.dropoutMask,
    })

  // [N, inputChannels, H, W] → [N, B, H, W]
  let h = conv2d(childScope(root, 'first'), inputs.x, { outputs: baseChannels, kernel: 3 })
  /** Outputs of the encoder. The decoder reads them in reverse order (skip connections). */
  const skips = [h]

  // Encoder: Cₗ channels at level l; a stride-2 convolution halves height and width between levels.
  let index = 0
  for (const { channels, attention, last } of levels) {
    for (let i = 0; i < numResBlocks; i++) {
      h = block(`encoder_blocks.${index++}`, h, channels, attention)
      skips.push(h)
    }
    if (!last) {
      const scope = childScope(root, `encoder_blocks.${index++}.downsample`)
      const padding = downsamplePaddings[config.downsamplePadding]
      h = conv2d(scope, h, { outputs: channels, kernel: 3, stride: 2, padding })
      skips.push(h)
    }
  }

  // Bottleneck: [N, C_{L−1}, H_{L−1}, W_{L−1}]
  const bottleneckChannels = ops.shape(h)[1] as number
  h = block('bottleneck_blocks.0', h, bottleneckChannels, true)
  h = block('bottleneck_blocks.1', h, bottleneckChannels, false)

  // Decoder: the input of each block is [N, C + C_skip, Hₗ, Wₗ], the previous output concatenated with an encoder output.
  index = 0
  for (const { channels, attention, first } of levels.toReversed()) {
    for (let i = 0; i <= numResBlocks; i++) {
      h = block(`decoder_blocks.${index++}`, ops.concat([h, skips.pop()!], 1), channels, attention)
    }
    if (!first) {
      const scope = childScope(root, `decoder_blocks.${index++}.upsample.1`)
      h = conv2d(scope, ops.upsample2x(h), { outputs: channels, kernel: 3 })
    }
  }

  // [N, C₀, H, W] → [N, outputChannels, H, W]
  h = ops.silu(groupNorm(childScope(root, 'final.0'), h, normOptions(config)))
  return conv2d(childScope(root, 'final.2'), h, {
    outputs: config.outputChannels,
    kernel: 3,
    zero: config.zeroInit,
  })
}

/** Inputs of the network, as tensors of any interpreter. */
export interface UNetInputs<T> {
  /** [N, inputChannels, H, W] */
  readonly x: T
  /** [N], integers from 0 to timesteps − 1 */
  readonly timestep: T
  /** [N], integers from 0 to classes; null for an unconditional model */
  readonly label: T | null
  /**
   * Returns a block's dropout mask [N, …shape], which multiplies the input of its second convolution: 0 for dropped units,
   * 1/(1 − p) for others. Returns null if there is no dropout.
   */
  readonly dropoutMask?: ((block: string, shape: MaskShape) => T | null) | undefined
}

/** Shape of a block's dropout mask for one image: [C, 1, 1] for dropoutUnit 'channel', [C, H, W] for 'element'. */
export type MaskShape = readonly [number, number, number]

/** Padding of a stride-2 convolution by UNetConfig.downsamplePadding. */
const downsamplePaddings = { around: [1, 1, 1, 1], after: [0, 0, 1, 1] } as const

/** Computes the joint embedding of timestep and label: [N] and [N] → [N, baseChannels · timeMultiple]. */
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

interface BlockOptions<T> {
  readonly config: UNetConfig
  /** Number of output channels. */
  readonly channels: number
  readonly attention: boolean
  readonly dropoutMask: UNetInputs<T>['dropoutMask']
}

/**
 * Applies a residual block:
 *
 * 1. norm, SiLU, convolution
 * 2. addition of the projected embedding to each channel
 * 3. norm, SiLU, dropout, convolution
 * 4. addition of the input
 * 5. optionally, self-attention
 * @param x [N, C, H, W]
 * @param embedding [N, E]
 * @returns [N, channels, H, W]
 */
function resnetBlock<T>(
  scope: Scope<T>,
  x: T,
  embedding: T,
  { config, channels, attention, dropoutMask }: BlockOptions<T>,
): T {
  const { ops } = scope
  const norm = normOptions(config)
  let h = ops.silu(groupNorm(childScope(scope, 'normalize_1'), x, norm))
  h = conv2d(childScope(scope, 'conv_1'), h, { outputs: channels, kernel: 3 })

  const shift = linear(childScope(scope, 'dense_1'), embedding, { outputs: channels })
  h = ops.add(h, ops.reshape(shift, [ops.shape(x)[0]!, channels, 1, 1]))

  h = ops.silu(groupNorm(childScope(scope, 'normalize_2'), h, norm))
  const [, , height, width] = ops.shape(h) as readonly number[]
  const maskShape: MaskShape =
    config.dropoutUnit === 'channel' ? [channels, 1, 1] : [channels, height!, width!]
  const mask = dropoutMask?.(scope.path, maskShape) ?? null
  if (mask !== null) h = ops.mul(h, mask)
  h = conv2d(childScope(scope, 'conv_2'), h, { outputs: channels, kernel: 3, zero: config.zeroInit })

  const sameChannels = ops.shape(x)[1] === channels
  const skip = sameChannels
    ? x
    : conv2d(childScope(scope, 'match_input'), x, { outputs: channels, kernel: 1 })
  h = ops.add(h, skip)
  return attention ? attentionBlock(childScope(scope, 'attention'), h, config) : h
}

/** Computes x + attention(norm(x)): [N, C, H, W] → [N, C, H, W]. */
function attentionBlock<T>(scope: Scope<T>, x: T, config: UNetConfig): T {
  const h = groupNorm(childScope(scope, 'group_norm'), x, normOptions(config))
  const { heads, zeroInit: zero } = config
  return scope.ops.add(x, selfAttention(childScope(scope, 'mhsa'), h, { heads, zero }))
}

function normOptions({ normGroups, normEps }: UNetConfig): { groups: number; eps: number } {
  return { groups: normGroups, eps: normEps }
}

/**
 * Lists the parameters of the network in the order in which `unet` requests them.
 * @throws UserError for an invalid configuration
 */
export function parameterSpecs(config: UNetConfig): ParameterSpec[] {
  validateUNet(config)
  const specs: ParameterSpec[] = []
  // Parameters do not depend on the image size, so the smallest valid size is used.
  const size = 2 ** (config.channelMultiples.length - 1)
  traceUNet(config, { height: size, width: size }, { onParameter: (spec) => specs.push(spec) })
  return specs
}

/** Layout of all dropout masks of an image: they are concatenated in one row, in the order of the blocks. */
export interface DropoutLayout {
  /** Shape and columns (`start` to `end`, exclusive) of each block's mask, by path of the block. */
  readonly blocks: ReadonlyMap<
    string,
    { readonly shape: MaskShape; readonly start: number; readonly end: number }
  >
  /** Length of the row; 0 without dropout. */
  readonly size: number
}

/** Computes the dropout layout of a network for one image size. */
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

/** Builds the graph of the network, and calls a callback for each of its parameters and dropout masks. */
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
