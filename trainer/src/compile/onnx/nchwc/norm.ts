import type { Node, OpNode } from '../../../algebra/graph.ts'
import type { Primitives, Shape } from '../../../algebra/ops.ts'
import { sameShape } from '../../../algebra/shape-rules.ts'
import { reshape } from '../emit/composites.ts'
import { type ConvolveOptions, convolve, type Shape4 } from './convolution.ts'
import { type BlockedEmitter, blockedNameOf, isBlocked, nchwcDomain } from './layout.ts'

// Operations on a blocked tensor and one value per channel are computed as depthwise convolutions of [1, N·C, H, W]. These are
// limited only by the memory bandwidth. Operators with broadcasting are slower.

/**
 * Emits x·scale + shift (+ sum) in blocked layout.
 * @param x [N, C, H, W], blocked
 * @param scale [N, C, 1, 1]; shift has the same shape, or is '' for none
 */
export function affine(
  emitter: BlockedEmitter,
  [x, scale, shift]: readonly [string, string, string],
  shape: Shape,
  { sum = null, activation = null }: Pick<ConvolveOptions, 'sum' | 'activation'> = {},
): string {
  const [n, channels, height, width] = shape as Shape4
  const count = n * channels
  const all: Shape = [1, count, height, width]
  const flat = (value: string, to: Shape) => (value === '' ? '' : reshape(emitter, value, to))
  const inputs = [flat(x, all), flat(scale, [count, 1, 1, 1]), flat(shift, [count])]
  const y = convolve(emitter, inputs, {
    kernel: [1, 1],
    groups: count,
    sum: sum && flat(sum, all),
    activation,
  })
  return reshape(emitter, y, shape)
}

/** Emits Σ a·b over the pixels of each channel, a convolution with b as its kernel: two blocked [N, C, H, W] → [N, C, 1, 1]. */
export function dot(emitter: BlockedEmitter, [a, b]: readonly [string, string], shape: Shape): string {
  const [n, channels, height, width] = shape as Shape4
  const count = n * channels
  const inputs = [
    reshape(emitter, a, [1, count, height, width]),
    reshape(emitter, b, [count, 1, height, width]),
  ]
  const sums = convolve(emitter, inputs, { kernel: [height, width], groups: count })
  return reshape(emitter, sums, [n, channels, 1, 1])
}

/** Emits the mean of each channel: blocked [N, C, H, W] → [N, C, 1, 1]. */
function pixelMean({ emit }: BlockedEmitter, x: string): string {
  return emit('GlobalAveragePool', [x], {}, { domain: nchwcDomain })
}

/** Emits Σ x over the pixels of each channel: blocked [N, C, H, W] → [N, C, 1, 1]. */
export function pixelSum(emitter: BlockedEmitter, x: string, shape: Shape): string {
  const pixels = (shape[2] as number) * (shape[3] as number)
  return emitter.emit('Mul', [pixelMean(emitter, x), emitter.float([pixels], [])])
}

/** Returns whether a node has one value per channel of a tensor [N, C, H, W]: [N, C, 1, 1]. */
export function isPerChannel({ shape }: Node, [n, channels]: Shape): boolean {
  return sameShape(shape, [n!, channels!, 1, 1])
}

/** A blocked tensor as the sum base + shift. */
interface ShiftedTensor {
  /** [N, C, H, W], blocked. */
  readonly base: Node
  /** Name of a tensor [N, C, 1, 1] that is added to each channel; null for none. */
  readonly shift: string | null
}

/**
 * Splits a tensor into a blocked base and a shift per channel. The functions below compute their results from the base and
 * the shift, so that base + shift need not be computed for every pixel.
 * @returns null if the tensor is not blocked
 */
function splitShift(emitter: BlockedEmitter, x: Node): ShiftedTensor | null {
  if (x.kind === 'op' && x.op === 'add') {
    const [base, shift] = x.inputs as readonly [Node, Node]
    if (isBlocked(emitter, base) && isPerChannel(shift, base.shape))
      return { base, shift: emitter.nameOf(shift) }
  }
  return isBlocked(emitter, x) ? { base: x, shift: null } : null
}

/**
 * Emits the mean and 1/σ of each group, [N, groups, 1], once for all readers.
 * @returns null if x is not blocked
 */
export function groupStatistics(emitter: BlockedEmitter, x: Node, { groups, eps }: Primitives['groupNorm']) {
  const { emit, float, once } = emitter
  const shifted = splitShift(emitter, x)
  if (shifted === null) return null
  const { base, shift } = shifted
  const [n, channels, height, width] = x.shape as Shape4
  return once(`statistics ${x.id} ${groups} ${eps}`, () => {
    const perGroup = (value: string) => reshape(emitter, value, [n, groups, channels / groups])
    const groupMean = (value: string) => emit('ReduceMean', [value], { axes: [2], keepdims: 1 })
    const name = blockedNameOf(emitter, base)
    const channelMean = pixelMean(emitter, name)
    const squares = emit('Mul', [dot(emitter, [name, name], x.shape), float([1 / (height * width)], [])])
    // The variance of a group is the mean of its channels' variances plus the variance of its channels' means. This has a
    // smaller rounding error (cancellation) than E[x²] − E[x]² over the group.
    const squaredMean = emit('Mul', [channelMean, channelMean])
    const variances = emit('Max', [emit('Sub', [squares, squaredMean]), float([0], [])])
    const means = perGroup(shift === null ? channelMean : emit('Add', [channelMean, shift]))
    const mean = groupMean(means)
    const deviations = emit('Sub', [means, mean])
    const variance = groupMean(emit('Add', [perGroup(variances), emit('Mul', [deviations, deviations])]))
    const sigma = emit('Sqrt', [emit('Add', [variance, float([eps], [])])])
    return { base: name, shift, mean, invStd: emit('Reciprocal', [sigma]) }
  })
}

/**
 * Emits group norm in blocked layout. It takes one pass over x in addition to the statistics.
 * @param activation function that is applied in the same pass
 * @returns [N, C, H, W], or null if x is not blocked
 */
export function blockedGroupNorm(
  emitter: BlockedEmitter,
  { inputs: [x, scale, shift], attributes, shape }: OpNode<'groupNorm'>,
  activation: ConvolveOptions['activation'] = null,
): string | null {
  const { emit } = emitter
  const statistics = groupStatistics(emitter, x!, attributes)
  if (statistics === null) return null
  const { base, shift: channelShift, mean, invStd } = statistics
  const [n, channels] = shape as Shape4
  const { groups } = attributes
  const perGroup = (value: string, images: number) =>
    reshape(emitter, value, [images, groups, channels / groups])
  const slope = emit('Mul', [perGroup(emitter.nameOf(scale!), 1), invStd])
  // y = slope·base + β + slope·(channelShift − mean)
  const centre = channelShift === null ? emit('Neg', [mean]) : emit('Sub', [perGroup(channelShift, n), mean])
  const offset = emit('Add', [perGroup(emitter.nameOf(shift!), 1), emit('Mul', [slope, centre])])
  return affine(emitter, [base, slope, offset], shape, { activation })
}

/** Emits Σ a·b over pixels, [N, C, 1, 1]; returns null if neither is blocked. */
export function blockedPixelDot(
  emitter: BlockedEmitter,
  { inputs: [a, b] }: OpNode<'pixelDot'>,
): string | null {
  const { emit } = emitter
  const shifted = splitShift(emitter, b!)
  if (shifted === null && !isBlocked(emitter, a!)) return null
  const { base, shift } = shifted ?? { base: b!, shift: null }
  const name = blockedNameOf(emitter, a!)
  const product = dot(emitter, [name, blockedNameOf(emitter, base)], a!.shape)
  if (shift === null) return product
  return emit('Add', [product, emit('Mul', [pixelSum(emitter, name, a!.shape), shift])])
}

/** Emits x·scale + shift (+ sum) in blocked layout; returns null if x is not blocked. */
export function blockedChannelAffine(
  emitter: BlockedEmitter,
  { inputs: [x, scale, shift] }: OpNode<'channelAffine'>,
  sum: string | null,
): string | null {
  const { emit } = emitter
  const shifted = splitShift(emitter, x!)
  if (shifted === null) return null
  const slope = emitter.nameOf(scale!)
  const parts = [
    ...(shift ? [emitter.nameOf(shift)] : []),
    ...(shifted.shift === null ? [] : [emit('Mul', [slope, shifted.shift])]),
  ]
  const offset = parts.length === 2 ? emit('Add', parts) : (parts[0] ?? '')
  return affine(emitter, [blockedNameOf(emitter, shifted.base), slope, offset], x!.shape, { sum })
}
