import type { Node, OpNode } from '../../../algebra/graph.ts'
import type { Convolution } from '../../../algebra/ops.ts'
import { onesRow, reshape } from '../emit/composites.ts'
import { type Emitter, nchwc } from '../emit/emitter.ts'
import { block, blocked, fits, isBlocked, recorded, unblock } from './layout.ts'

type KernelShape = readonly [outputs: number, inputs: number, kernel: number]

export type Shape4 = readonly [number, number, number, number]

/** taps − 1 … 0 */
function reverse(taps: number): number[] {
  return Array.from({ length: taps }, (_, i) => taps - 1 - i)
}

export interface ConvolveOptions {
  readonly kernel: readonly [number, number]
  readonly stride?: number
  readonly padding?: Convolution['padding']
  readonly groups?: number
  /** A value in blocks, of the result's shape, that is added in the same pass. */
  readonly sum?: string | null
  /** What becomes of the result in the same pass. */
  readonly activation?: 'Sigmoid' | null
}

/** onnxruntime's convolution over blocks; a bias or sum of '' is none. */
export function convolve(
  { emit }: Emitter,
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
  return emit('Conv', inputs, attributes, { domain: nchwc })
}

/** What a convolution reads: blocks, or a recorded picture of fewer channels than a block has; null for neither. */
function operand(emitter: Emitter, node: Node, width: number): string | null {
  const channels = node.shape[1] as number
  if (channels % width === 0) return blocked(emitter, node)
  return channels < width ? recorded(emitter, node) : null
}

/** A kernel [O, C, K, K] as a convolution over blocks reads it: [O/B, C/B, K², B of C, B of O], or [O/B, C, K², B]. */
export function kernelBlocks(
  emitter: Emitter,
  weight: string,
  [outputs, inputs, kernel]: KernelShape,
): string {
  const { emit, blockWidth: width } = emitter
  const taps = kernel * kernel
  const columns = block(emitter, reshape(emitter, weight, [1, outputs, inputs * taps, 1]))
  if (!fits(width, inputs)) return reshape(emitter, columns, [outputs, inputs, kernel, kernel])
  const parts = [outputs / width, inputs / width, width, taps, width]
  const blocks = emit('Transpose', [reshape(emitter, columns, parts)], { perm: [0, 1, 3, 2, 4] })
  return reshape(emitter, blocks, [outputs, inputs, kernel, kernel])
}

/** The same of the kernel of dx: its taps in reverse and its channel axes swapped. */
export function flippedBlocks(
  emitter: Emitter,
  weight: string,
  [outputs, inputs, kernel]: KernelShape,
): string {
  const { emit, int64, blockWidth } = emitter
  const width = blockWidth!
  const taps = kernel * kernel
  const rows = block(emitter, reshape(emitter, weight, [outputs, inputs, taps, 1]))
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
  const flipped = taps === 1 ? swapped : emit('Gather', [swapped, int64(reverse(taps))], { axis: 2 })
  return reshape(emitter, flipped, [inputs, outputs, kernel, kernel])
}

/** y = w ∗ x (+ sum) in blocks: [N, C, H, W], [O, C, K, K] and [O] → [N, O, H', W']; null where they do not fit. */
export function blockedConvolution(
  emitter: Emitter,
  { inputs: [x, weight, bias], attributes }: OpNode<'conv2d'>,
  sum: string | null,
): string | null {
  const { blockWidth: width } = emitter
  const [outputs, inputs, kernel] = weight!.shape as Shape4
  if (!fits(width, outputs)) return null
  const source = operand(emitter, x!, width)
  if (source === null) return null
  const w = kernelBlocks(emitter, recorded(emitter, weight!), [outputs, inputs, kernel])
  return convolve(emitter, [source, w, ...(bias ? [recorded(emitter, bias)] : [])], {
    ...attributes,
    kernel: [kernel, kernel],
    sum,
  })
}

/** dx (+ sum) at stride 1: the convolution of dy with the weight flipped and its channel axes swapped. */
export function blockedInputGrad(
  emitter: Emitter,
  { inputs: [dy, weight], attributes: { stride, padding } }: OpNode<'conv2dInputGrad'>,
  sum: string | null,
): string | null {
  const { blockWidth: width } = emitter
  const [outputs, inputs, kernel] = weight!.shape as Shape4
  if (stride !== 1 || !fits(width, inputs)) return null
  const source = operand(emitter, dy!, width)
  if (source === null) return null
  const w = flippedBlocks(emitter, recorded(emitter, weight!), [outputs, inputs, kernel])
  const around = padding.map((pad) => kernel - 1 - pad) as [number, number, number, number]
  return convolve(emitter, [source, w], { kernel: [kernel, kernel], padding: around, sum })
}

/**
 * dw where the convolution keeps the size: a convolution too, in which channels take the place of the batch, pictures
 * the place of channels, and dy that of the weight: dw[o, c] = Σₙ x[c, n] ∗ dy[o, n], K×K values from kernels as large
 * as a picture. With x and dy in each other's place the taps come out in reverse; the one of fewer channels is convolved,
 * for it goes through memory three times and the other one once. The kernel that reads recorded input takes fewer
 * channels than a block has: the pictures are convolved in groups, whose results are added up.
 * @returns dw as recorded, or null where blocks do not fit
 */
export function blockedWeightGrad(
  emitter: Emitter,
  { inputs: [x, dy], attributes: { stride, padding, kernel } }: OpNode<'conv2dWeightGrad'>,
): string | null {
  const { emit, int64, blockWidth: width } = emitter
  const [n, inputs, height, columns] = x!.shape as Shape4
  const outputs = dy!.shape[1] as number
  const around = (kernel - 1) / 2
  if (kernel === 1 || stride !== 1 || padding.some((pad) => pad !== around)) return null
  const reversed = inputs > outputs && fits(width, inputs)
  const [few, many] = reversed ? [outputs, inputs] : [inputs, outputs]
  if (!fits(width, many)) return null
  if (groupsFor(n, width) === null) return null

  const source = padColumns(emitter, reversed ? dy! : x!, [around, around])
  const kernels = blocked(emitter, reversed ? x! : dy!)
  const taps = correlation(emitter, [source, kernels], {
    n,
    few,
    many,
    height,
    columns,
    rows: [around, around],
  })
  if (!reversed) return emit('Transpose', [unblock(emitter, taps, [few, many])], { perm: [1, 0, 2, 3] })
  const byTap = reshape(emitter, taps, [few, many / width, kernel * kernel, width])
  const flipped = emit('Gather', [byTap, int64(reverse(kernel * kernel))], { axis: 2 })
  return unblock(emitter, reshape(emitter, flipped, [few, many, kernel, kernel]), [few, many])
}

interface CorrelationShape {
  /** Pictures; see groupsFor. */
  readonly n: number
  readonly few: number
  readonly many: number
  /** Of the kernels. */
  readonly height: number
  readonly columns: number
  /** Rows of zeros before and after the source. */
  readonly rows: readonly [before: number, after: number]
}

/**
 * Σₙ source[n, f] ∗ kernels[n, m]: the source [N, few, H, W'] as recorded, its columns padded; kernels [N, many, H, W] in
 * blocks.
 * @returns [few, many, taps, taps'] in blocks, as many taps as the padding gives room for
 */
export function correlation(
  emitter: Emitter,
  [source, kernels]: readonly [source: string, kernels: string],
  { n, few, many, height, columns, rows: [before, after] }: CorrelationShape,
): string {
  const { emit } = emitter
  const width = emitter.blockWidth!
  const groups = groupsFor(n, width)!
  const each = n / groups
  const swapped = emit('Transpose', [source], { perm: [1, 0, 2, 3] })

  // [groups, N/groups, C/B, H·W·B] → [groups, C/B, N/groups, H·W·B]
  const parts = [groups, each, many / width, height * columns * width]
  const blocks = emit('Transpose', [reshape(emitter, kernels, parts)], { perm: [0, 2, 1, 3] })
  const weight = reshape(emitter, blocks, [groups * many, each, height, columns])

  // [few, groups · many, taps, taps'] in blocks; the sum over groups is a product with ones
  const options = { kernel: [height, columns], padding: [before, 0, after, 0], groups } as const
  const sums = convolve(emitter, [swapped, weight], options)
  if (groups === 1) return sums
  const total = emit('MatMul', [onesRow(emitter, groups), reshape(emitter, sums, [few, groups, -1])])
  return reshape(emitter, total, [few, many, 1 + before + after, -1])
}

/**
 * x with zeros before and after every row, as recorded: a convolution with padding and ones for its kernel, which takes
 * half as long as Pad. Inside the convolution of dw itself padded columns are slow, and padded rows cost nothing.
 */
export function padColumns(
  emitter: Emitter,
  x: Node,
  [before, after]: readonly [before: number, after: number],
): string {
  const { emit, int64, float, once } = emitter
  if (!isBlocked(emitter, x)) {
    const sides = int64([0, 0, 0, before, 0, 0, 0, after])
    return emit('Pad', [recorded(emitter, x), sides], { mode: 'constant' })
  }
  const channels = x.shape[1] as number
  const ones = once(`ones ${channels} 1×1`, () =>
    float(new Float32Array(channels).fill(1), [channels, 1, 1, 1]),
  )
  const options = { kernel: [1, 1], padding: [0, before, 0, after], groups: channels } as const
  return unblock(emitter, convolve(emitter, [blocked(emitter, x), ones], options), x.shape)
}

/**
 * The least number of groups in which there are fewer than `width` pictures each; null for numbers of pictures that
 * the blocked convolution does not take.
 */
export function groupsFor(batch: number, width: number): number | null {
  if (batch < width) return 1
  for (let groups = 2; groups < batch; groups++) {
    if (batch % groups === 0 && batch / groups < width) return groups
  }
  return null
}
