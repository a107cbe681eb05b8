import type { Node, OpNode } from '../../../algebra/graph.ts'
import type { Convolution } from '../../../algebra/ops.ts'
import { onesRow, reshape } from '../emit/composites.ts'
import {
  type BlockedEmitter,
  blockedNameOf,
  fits,
  isBlocked,
  nchwcDomain,
  toBlocked,
  toPlain,
} from './layout.ts'

type KernelShape = readonly [outputs: number, inputs: number, kernel: number]

export type Shape4 = readonly [number, number, number, number]

/** Returns the indices taps − 1, …, 0. */
function reversedIndices(taps: number): number[] {
  return Array.from({ length: taps }, (_, i) => taps - 1 - i)
}

export interface ConvolveOptions {
  readonly kernel: readonly [number, number]
  readonly stride?: number
  readonly padding?: Convolution['padding']
  readonly groups?: number
  /** Name of a blocked tensor with the result's shape, which is added to the result in the same pass. */
  readonly sum?: string | null
  /** Function that is applied to the result in the same pass. */
  readonly activation?: 'Sigmoid' | null
}

/**
 * Emits onnxruntime's blocked convolution. The weight must be in the order that blockKernel emits. A bias of '' means no
 * bias.
 * @returns the result in blocked layout
 */
export function convolve(
  { emit }: BlockedEmitter,
  [x, weight, bias = '']: readonly string[],
  { kernel, stride = 1, padding = [0, 0, 0, 0], groups = 1, sum = null, activation = null }: ConvolveOptions,
): string {
  const inputs = sum !== null ? [x!, weight!, bias, sum] : bias !== '' ? [x!, weight!, bias] : [x!, weight!]
  const attributes = {
    kernel_shape: kernel,
    strides: [stride, stride],
    pads: padding,
    dilations: [1, 1],
    group: groups,
    ...(activation !== null && { activation }),
  }
  return emit('Conv', inputs, attributes, { domain: nchwcDomain })
}

/**
 * Returns the name of a convolution's input: in blocked layout, or in plain layout if it has fewer channels than a block.
 * Returns null for other numbers of channels, which the blocked convolution does not support.
 */
function convolutionInput(emitter: BlockedEmitter, node: Node, width: number): string | null {
  const channels = node.shape[1] as number
  if (channels % width === 0) return blockedNameOf(emitter, node)
  return channels < width ? emitter.nameOf(node) : null
}

/**
 * Emits the reordering of a kernel [O, C, K, K] for the blocked convolution. Its order in memory is
 * [O/B, C/B, K², B input channels, B output channels] for blocked inputs and [O/B, C, K², B output channels] for plain ones.
 */
export function blockKernel(
  emitter: BlockedEmitter,
  weight: string,
  [outputs, inputs, kernel]: KernelShape,
): string {
  const { emit, blockWidth: width } = emitter
  const taps = kernel * kernel
  const columns = toBlocked(emitter, reshape(emitter, weight, [1, outputs, inputs * taps, 1]))
  if (!fits(width, inputs)) return reshape(emitter, columns, [outputs, inputs, kernel, kernel])
  const parts = [outputs / width, inputs / width, width, taps, width]
  const blocks = emit('Transpose', [reshape(emitter, columns, parts)], { perm: [0, 1, 3, 2, 4] })
  return reshape(emitter, blocks, [outputs, inputs, kernel, kernel])
}

/** Emits the same reordering for the kernel of dx, whose taps are reversed and whose channel axes are swapped. */
export function blockFlippedKernel(
  emitter: BlockedEmitter,
  weight: string,
  [outputs, inputs, kernel]: KernelShape,
): string {
  const { emit, int64, blockWidth: width } = emitter
  const taps = kernel * kernel
  const rows = toBlocked(emitter, reshape(emitter, weight, [outputs, inputs, taps, 1]))
  const [parts, perm] = fits(width, outputs)
    ? [
        [outputs / width, width, inputs / width, taps, width],
        [2, 0, 3, 1, 4],
      ]
    : [
        [outputs, inputs / width, taps, width],
        [1, 0, 2, 3],
      ]
  const swapped = emit('Transpose', [reshape(emitter, rows, parts)], { perm })
  const flipped = taps === 1 ? swapped : emit('Gather', [swapped, int64(reversedIndices(taps))], { axis: 2 })
  return reshape(emitter, flipped, [inputs, outputs, kernel, kernel])
}

/**
 * Emits y = w ∗ x + b (+ sum): [N, C, H, W], [O, C, K, K] and [O] → [N, O, H', W'] in blocked layout.
 * @returns null if the channels are not a multiple of the block width
 */
export function blockedConvolution(
  emitter: BlockedEmitter,
  { inputs: [x, weight, bias], attributes }: OpNode<'conv2d'>,
  sum: string | null,
): string | null {
  const { blockWidth: width } = emitter
  const [outputs, inputs, kernel] = weight!.shape as Shape4
  if (!fits(width, outputs)) return null
  const source = convolutionInput(emitter, x!, width)
  if (source === null) return null
  const w = blockKernel(emitter, emitter.nameOf(weight!), [outputs, inputs, kernel])
  return convolve(emitter, [source, w, ...(bias ? [emitter.nameOf(bias)] : [])], {
    ...attributes,
    kernel: [kernel, kernel],
    sum,
  })
}

/**
 * Emits dx (+ sum) at stride 1, in blocked layout. dx is the convolution of dy with a kernel: the weight with reversed taps
 * and swapped channel axes.
 * @returns null if the blocked convolution does not support it
 */
export function blockedInputGrad(
  emitter: BlockedEmitter,
  { inputs: [dy, weight], attributes: { stride, padding } }: OpNode<'conv2dInputGrad'>,
  sum: string | null,
): string | null {
  const { blockWidth: width } = emitter
  const [outputs, inputs, kernel] = weight!.shape as Shape4
  if (stride !== 1 || !fits(width, inputs)) return null
  const source = convolutionInput(emitter, dy!, width)
  if (source === null) return null
  const w = blockFlippedKernel(emitter, emitter.nameOf(weight!), [outputs, inputs, kernel])
  const gradPadding = padding.map((pad) => kernel - 1 - pad) as [number, number, number, number]
  return convolve(emitter, [source, w], { kernel: [kernel, kernel], padding: gradPadding, sum })
}

/**
 * Emits dw of a convolution that preserves the size. dw is also a convolution. Its batch axis is the channels of x, its
 * channel axis is the batch, and its kernel is dy: dw[o, c] = Σₙ x[c, n] ∗ dy[o, n]. The kernel is as large as the image and
 * the result has K×K pixels.
 *
 * - If x and dy are exchanged, the result has the same values with reversed taps. The tensor with fewer channels is the input
 *   of the convolution, because the input passes through memory three times and the kernel once.
 * - A plain input must have fewer channels than a block. Larger batches are therefore convolved in groups, and the results of
 *   the groups are summed.
 * @returns [O, C, K, K] in plain layout, or null if the blocked convolution does not support it
 */
export function blockedWeightGrad(
  emitter: BlockedEmitter,
  { inputs: [x, dy], attributes: { stride, padding, kernel } }: OpNode<'conv2dWeightGrad'>,
): string | null {
  const { emit, int64, blockWidth: width } = emitter
  const [n, inputs, height, columns] = x!.shape as Shape4
  const outputs = dy!.shape[1] as number
  const samePadding = (kernel - 1) / 2
  if (kernel === 1 || stride !== 1 || padding.some((pad) => pad !== samePadding)) return null
  const reversed = inputs > outputs && fits(width, inputs)
  const [few, many] = reversed ? [outputs, inputs] : [inputs, outputs]
  if (!fits(width, many)) return null
  if (countGroups(n, width) === null) return null

  const source = padColumns(emitter, reversed ? dy! : x!, [samePadding, samePadding])
  const kernels = blockedNameOf(emitter, reversed ? x! : dy!)
  const taps = correlate(emitter, [source, kernels], {
    n,
    few,
    many,
    height,
    columns,
    rows: [samePadding, samePadding],
  })
  if (!reversed) return emit('Transpose', [toPlain(emitter, taps, [few, many])], { perm: [1, 0, 2, 3] })
  const byTap = reshape(emitter, taps, [few, many / width, kernel * kernel, width])
  const flipped = emit('Gather', [byTap, int64(reversedIndices(kernel * kernel))], { axis: 2 })
  return toPlain(emitter, reshape(emitter, flipped, [few, many, kernel, kernel]), [few, many])
}

interface CorrelationShape {
  /** Batch size; countGroups(n) must not be null. */
  readonly n: number
  /** Channels of the source. */
  readonly few: number
  /** Channels of the kernels. */
  readonly many: number
  /** Height and width of the kernels. */
  readonly height: number
  readonly columns: number
  /** Number of rows of zeros above and below the source. */
  readonly rows: readonly [before: number, after: number]
}

/**
 * Emits Σₙ source[n, f] ∗ kernels[n, m].
 * @param source [N, few, H, W'] in plain layout, columns padded
 * @param kernels [N, many, H, W] in blocked layout
 * @returns [few, many, 1 + before + after, 1 + W' − W] in blocked layout
 */
export function correlate(
  emitter: BlockedEmitter,
  [source, kernels]: readonly [source: string, kernels: string],
  { n, few, many, height, columns, rows: [before, after] }: CorrelationShape,
): string {
  const { emit } = emitter
  const width = emitter.blockWidth
  const groups = countGroups(n, width)!
  const each = n / groups
  const swapped = emit('Transpose', [source], { perm: [1, 0, 2, 3] })

  // [groups, N/groups, C/B, H·W·B] → [groups, C/B, N/groups, H·W·B]
  const parts = [groups, each, many / width, height * columns * width]
  const blocks = emit('Transpose', [reshape(emitter, kernels, parts)], { perm: [0, 2, 1, 3] })
  const weight = reshape(emitter, blocks, [groups * many, each, height, columns])

  // [few, groups · many, taps, taps'] in blocked layout. The sum over groups is a product with ones.
  const options = { kernel: [height, columns], padding: [before, 0, after, 0], groups } as const
  const sums = convolve(emitter, [swapped, weight], options)
  if (groups === 1) return sums
  const total = emit('MatMul', [onesRow(emitter, groups), reshape(emitter, sums, [few, groups, -1])])
  return reshape(emitter, total, [few, many, 1 + before + after, -1])
}

/**
 * Emits x with columns of zeros before and after it, in plain layout. Columns are padded in advance because padding them in
 * the convolution of dw is slow. (Padding rows there takes no additional time.) A blocked x is padded by a depthwise
 * convolution with a kernel of ones, which takes half the time of Pad.
 */
export function padColumns(
  emitter: BlockedEmitter,
  x: Node,
  [before, after]: readonly [before: number, after: number],
): string {
  const { emit, int64, float, once } = emitter
  if (!isBlocked(emitter, x)) {
    const pads = int64([0, 0, 0, before, 0, 0, 0, after])
    return emit('Pad', [emitter.nameOf(x), pads], { mode: 'constant' })
  }
  const channels = x.shape[1] as number
  const ones = once(`ones ${channels} 1×1`, () =>
    float(new Float32Array(channels).fill(1), [channels, 1, 1, 1]),
  )
  const options = { kernel: [1, 1], padding: [0, before, 0, after], groups: channels } as const
  return toPlain(emitter, convolve(emitter, [blockedNameOf(emitter, x), ones], options), x.shape)
}

/**
 * Returns the smallest number of groups of equal size with fewer than `width` images each. Returns null if the batch cannot
 * be divided into such groups of at least two images.
 */
export function countGroups(batch: number, width: number): number | null {
  if (batch < width) return 1
  for (let groups = 2; groups < batch; groups++) {
    if (batch % groups === 0 && batch / groups < width) return groups
  }
  return null
}
