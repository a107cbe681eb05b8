import type { Node, OpNode } from '../../../algebra/graph.ts'
import type { Convolution } from '../../../algebra/ops.ts'
import { onesRow, reshape } from '../emit/composites.ts'
import { type BlockedEmitter, blockedNameOf, fits, nchwcDomain, toBlocked, toPlain } from './layout.ts'

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
  /** Distance in columns between neighboring columns of the kernel. */
  readonly dilation?: number
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
  {
    kernel,
    stride = 1,
    padding = [0, 0, 0, 0],
    dilation = 1,
    groups = 1,
    sum = null,
    activation = null,
  }: ConvolveOptions,
): string {
  const inputs = sum !== null ? [x!, weight!, bias, sum] : bias !== '' ? [x!, weight!, bias] : [x!, weight!]
  const attributes = {
    kernel_shape: kernel,
    strides: [stride, stride],
    pads: padding,
    dilations: [1, dilation],
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
 * Emits dw of a convolution that preserves the size. dw is also a convolution: see correlate. If x and dy are exchanged, the
 * result has the same values with reversed taps. The tensor with fewer channels is the source of the correlation.
 * @returns [O, C, K, K] in plain layout, or null if the blocked convolution does not support it
 */
export function blockedWeightGrad(
  emitter: BlockedEmitter,
  { inputs: [x, dy], attributes: { stride, padding, kernel } }: OpNode<'conv2dWeightGrad'>,
): string | null {
  const { blockWidth: width } = emitter
  const [n, inputs] = x!.shape as Shape4
  const outputs = dy!.shape[1] as number
  const samePadding = (kernel - 1) / 2
  if (kernel === 1 || stride !== 1 || padding.some((pad) => pad !== samePadding)) return null
  const exchanged = inputs > outputs && fits(width, inputs)
  const [source, kernels] = exchanged ? [dy!, x!] : [x!, dy!]
  if (!fits(width, kernels.shape[1]!) || countGroups(n, width) === null) return null
  const taps = correlate(emitter, [source, blockedNameOf(emitter, kernels)], kernels.shape as Shape4, {
    padding: [samePadding, samePadding, samePadding, samePadding],
    exchanged,
  })
  return reshape(emitter, taps, [outputs, inputs, kernel, kernel])
}

/**
 * Emits the sums over the batch Σₙ source[n, f] ∗ kernels[n, m], where the kernels are as large as the image. As one
 * convolution: its batch axis is the channels of the source, its channel axis is the batch, and its result has one pixel per
 * tap.
 *
 * - The columns of all channels of a block are interleaved, as they are in blocked layout, and the kernels are dilated by the
 *   width of a block. A row of the result is then B times as long, so that a value of the kernels is used for more pixels
 *   while it is in a register: with AVX-512 for six instead of three.
 * - A plain input must have fewer channels than a block. Larger batches are therefore convolved in groups, and the results of
 *   the groups are summed.
 * @param source [N, F, H, W]; not interleaved if F is not a multiple of the block width
 * @param kernels [N, M, H, W] in blocked layout; countGroups(N) must not be null
 * @param options.padding zeros around the source
 * @param options.exchanged returns [F, M, reversed taps]
 * @returns [M, F, taps] in plain layout
 */
export function correlate(
  emitter: BlockedEmitter,
  [source, kernels]: readonly [source: Node, kernels: string],
  [n, many, height, columns]: Shape4,
  {
    padding: [top, left, bottom, right],
    exchanged = false,
  }: { readonly padding: Convolution['padding']; readonly exchanged?: boolean },
): string {
  const { emit, int64, blockWidth: width } = emitter
  const groups = countGroups(n, width)!
  const each = n / groups
  const few = source.shape[1] as number
  const interleaved = fits(width, few) ? width : 1
  const rows = few / interleaved
  const paddedColumns = (left + columns + right) * interleaved
  const padded = padColumns(emitter, source, [left, right])
  const parts = [n, rows, height, paddedColumns]
  const images = emit('Transpose', [reshape(emitter, padded, parts)], { perm: [1, 0, 2, 3] })

  // [groups, N/groups, M/B, H·W·B] → [groups, M/B, N/groups, H·W·B]
  const grouped = reshape(emitter, kernels, [groups, each, many / width, height * columns * width])
  const blocks = emit('Transpose', [grouped], { perm: [0, 2, 1, 3] })
  const weight = reshape(emitter, blocks, [groups * many, each, height, columns])
  const sums = convolve(emitter, [images, weight], {
    kernel: [height, columns],
    padding: [top, 0, bottom, 0],
    dilation: interleaved,
    groups,
  })

  const taps = (1 + top + bottom) * (1 + left + right)
  const values = many * taps * interleaved
  // The sum over groups is a product with ones.
  const total =
    groups === 1
      ? sums
      : emit('MatMul', [onesRow(emitter, groups), reshape(emitter, sums, [rows, groups, values])])

  // [F/B, M/B, taps, B columns of F, B channels of M]. Both reorderings move a B behind other axes, which ReorderOutput does
  // several times as fast as Transpose.
  const plain = (x: string, images: number, channels: number, pixels: number) =>
    toPlain(emitter, reshape(emitter, x, [images, channels, pixels, 1]), [images, channels])
  if (exchanged) {
    const byTap = reshape(emitter, total, [rows, many / width, taps, interleaved * width])
    const reversed = emit('Gather', [byTap, int64(reversedIndices(taps))], { axis: 2 })
    const byChannel = plain(reversed, rows, many, taps * interleaved)
    return interleaved === 1 ? byChannel : plain(byChannel, rows, interleaved, many * taps)
  }
  const byChannel = reshape(emitter, plain(total, rows, many, taps * interleaved), [
    rows,
    many,
    taps * interleaved,
  ])
  const swapped = emit('Transpose', [byChannel], { perm: [1, 0, 2] })
  return interleaved === 1 ? swapped : plain(swapped, many * rows, interleaved, taps)
}

/**
 * Emits x with columns of zeros before and after it: in blocked layout if its channels are a multiple of the block width.
 * Columns are padded in advance because padding them in the convolution of dw is slow. (Padding rows there takes no
 * additional time.) A blocked x is padded by a depthwise convolution with a kernel of ones, which takes half the time of Pad.
 */
function padColumns(
  emitter: BlockedEmitter,
  x: Node,
  [before, after]: readonly [before: number, after: number],
): string {
  const { emit, int64, float, once } = emitter
  const channels = x.shape[1] as number
  if (!fits(emitter.blockWidth, channels)) {
    const pads = int64([0, 0, 0, before, 0, 0, 0, after])
    return emit('Pad', [emitter.nameOf(x), pads], { mode: 'constant' })
  }
  const ones = once(`ones ${channels} 1×1`, () =>
    float(new Float32Array(channels).fill(1), [channels, 1, 1, 1]),
  )
  const options = { kernel: [1, 1], padding: [0, before, 0, after], groups: channels } as const
  return convolve(emitter, [blockedNameOf(emitter, x), ones], options)
}

/** Preferred number of images per group: 5 % faster with 32 images than groups of eight, and more work for many cores. */
const imagesPerGroup = 4

/**
 * Returns the number of groups of equal size for `correlate`. Batches that fit into one group are not divided, because the
 * results of the groups must be summed. Returns null if the batch cannot be divided into groups of at least two and fewer
 * than `width` images.
 */
export function countGroups(batch: number, width: number): number | null {
  if (batch < width) return 1
  const sizes = Array.from({ length: width - 2 }, (_, i) => i + 2).filter((size) => batch % size === 0)
  const size = sizes.findLast((each) => each <= imagesPerGroup) ?? sizes[0]
  return size === undefined ? null : batch / size
}
