import type { Node, OpNode } from '../../../algebra/graph.ts'
import type { Primitives, Shape } from '../../../algebra/ops.ts'
import { sameShape } from '../../../algebra/shape-rules.ts'
import { reshape } from '../emit/composites.ts'
import { type Emitter, nchwc } from '../emit/emitter.ts'
import { type ConvolveOptions, convolve, type Shape4 } from './convolution.ts'
import { blocked, isBlocked, recorded } from './layout.ts'

// One value per channel and a picture in blocks meet in depthwise convolutions over all N·C channels of a batch, as if
// they were one picture's: they run at the speed of memory where a product that is broadcast does not.

/** x·scale + shift (+ sum): x in blocks; scale and shift, or '' for none, one value for each of the N·C channels. */
export function affine(
  emitter: Emitter,
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

/** Σ a·b over the pixels of each channel: [N, C, 1, 1]. The convolution has b for its kernel. */
export function dot(emitter: Emitter, [a, b]: readonly [string, string], shape: Shape): string {
  const [n, channels, height, width] = shape as Shape4
  const count = n * channels
  const inputs = [
    reshape(emitter, a, [1, count, height, width]),
    reshape(emitter, b, [count, 1, height, width]),
  ]
  const sums = convolve(emitter, inputs, { kernel: [height, width], groups: count })
  return reshape(emitter, sums, [n, channels, 1, 1])
}

function pixelMean({ emit }: Emitter, x: string): string {
  return emit('GlobalAveragePool', [x], {}, { domain: nchwc })
}

/** Σ x over the pixels of each channel: [N, C, 1, 1]. */
export function pixelSum(emitter: Emitter, x: string, shape: Shape): string {
  const pixels = (shape[2] as number) * (shape[3] as number)
  return emitter.emit('Mul', [pixelMean(emitter, x), emitter.float([pixels], [])])
}

/** Whether a node is one value for each channel of pictures of a shape. */
export function isPerChannel({ shape }: Node, [n, channels]: Shape): boolean {
  return sameShape(shape, [n!, channels!, 1, 1])
}

interface Shifted {
  /** In blocks. */
  readonly base: Node
  /** [N, C, 1, 1] as recorded, or null for none. */
  readonly shift: string | null
}

/**
 * A picture in blocks as a base and what was added to its channels, which the functions below account for in numbers per
 * channel: the sum itself need not be computed. Null where it is not in blocks.
 */
function unshifted(emitter: Emitter, x: Node): Shifted | null {
  if (x.kind === 'op' && x.op === 'add') {
    const [h, c] = x.inputs as readonly [Node, Node]
    if (isBlocked(emitter, h) && isPerChannel(c, h.shape)) return { base: h, shift: recorded(emitter, c) }
  }
  return isBlocked(emitter, x) ? { base: x, shift: null } : null
}

/** Mean and 1/σ of each group, [N, groups, 1], computed once for all that need either; null where not in blocks. */
export function statistics(emitter: Emitter, x: Node, { groups, eps }: Primitives['groupNorm']) {
  const { emit, float, once } = emitter
  const found = unshifted(emitter, x)
  if (found === null) return null
  const { base, shift } = found
  const [n, channels, height, width] = x.shape as Shape4
  return once(`statistics ${x.id} ${groups} ${eps}`, () => {
    const perGroup = (value: string) => reshape(emitter, value, [n, groups, channels / groups])
    const meanOf = (value: string) => emit('ReduceMean', [value], { axes: [2], keepdims: 1 })
    const name = blocked(emitter, base)
    const own = pixelMean(emitter, name)
    const squares = emit('Mul', [dot(emitter, [name, name], x.shape), float([1 / (height * width)], [])])
    // The variance of each channel about its own mean, where less cancels than about 0, and that of the means.
    const variances = emit('Max', [emit('Sub', [squares, emit('Mul', [own, own])]), float([0], [])])
    const means = perGroup(shift === null ? own : emit('Add', [own, shift]))
    const mean = meanOf(means)
    const deviations = emit('Sub', [means, mean])
    const variance = meanOf(emit('Add', [perGroup(variances), emit('Mul', [deviations, deviations])]))
    const sigma = emit('Sqrt', [emit('Add', [variance, float([eps], [])])])
    return { base: name, shift, mean, invStd: emit('Reciprocal', [sigma]) }
  })
}

/**
 * Mean 0 and variance 1 over each group of channels, then scale and shift: one pass over x once its sums are known.
 * @param activation what becomes of it in the same pass: who needs that alone need not keep the rest
 */
export function blockedGroupNorm(
  emitter: Emitter,
  { inputs: [x, scale, shift], attributes, shape }: OpNode<'groupNorm'>,
  activation: ConvolveOptions['activation'] = null,
): string | null {
  const { emit } = emitter
  const found = statistics(emitter, x!, attributes)
  if (found === null) return null
  const [n, channels] = shape as Shape4
  const { groups } = attributes
  const perGroup = (value: string, images: number) =>
    reshape(emitter, value, [images, groups, channels / groups])
  const slope = emit('Mul', [perGroup(recorded(emitter, scale!), 1), found.invStd])
  // β + slope·(added to the channel − mean)
  const centre =
    found.shift === null ? emit('Neg', [found.mean]) : emit('Sub', [perGroup(found.shift, n), found.mean])
  const offset = emit('Add', [perGroup(recorded(emitter, shift!), 1), emit('Mul', [slope, centre])])
  return affine(emitter, [found.base, slope, offset], shape, { activation })
}

/** Σ a·b over pixels, [N, C, 1, 1]; null where neither is in blocks. */
export function blockedPixelDot(emitter: Emitter, { inputs: [a, b] }: OpNode<'pixelDot'>): string | null {
  const { emit } = emitter
  const found = unshifted(emitter, b!)
  if (found === null && !isBlocked(emitter, a!)) return null
  const { base, shift } = found ?? { base: b!, shift: null }
  const name = blocked(emitter, a!)
  const product = dot(emitter, [name, blocked(emitter, base)], a!.shape)
  if (shift === null) return product
  return emit('Add', [product, emit('Mul', [pixelSum(emitter, name, a!.shape), shift])])
}

/** x·scale + shift (+ sum) in blocks; null where x is not. */
export function blockedChannelAffine(
  emitter: Emitter,
  { inputs: [x, scale, shift] }: OpNode<'channelAffine'>,
  sum: string | null,
): string | null {
  const { emit } = emitter
  const found = unshifted(emitter, x!)
  if (found === null) return null
  const slope = recorded(emitter, scale!)
  const parts = [
    ...(shift ? [recorded(emitter, shift)] : []),
    ...(found.shift === null ? [] : [emit('Mul', [slope, found.shift])]),
  ]
  const offset = parts.length === 2 ? emit('Add', parts) : (parts[0] ?? '')
  return affine(emitter, [blocked(emitter, found.base), slope, offset], x!.shape, { sum })
}
