import type { Node, OpNode } from '../graph.ts'
import type { Convolution } from '../ops.ts'
import { onesRow, reshape } from './composites.ts'
import { type Emitter, nchwc } from './emitter.ts'
import { block, blocked, fits, isBlocked, recorded, unblock } from './layout.ts'

export type Shape4 = readonly [number, number, number, number]

interface ConvolveOptions {
  readonly kernel: readonly [number, number]
  readonly stride?: number
  readonly padding?: Convolution['padding']
  readonly groups?: number
  /** A value in blocks, of the result's shape, that is added in the same pass. */
  readonly sum?: string | null
}

/** onnxruntime's convolution over blocks; a bias or sum of '' is none. */
export function convolve(
  { emit }: Emitter,
  [x, weight, bias = '']: readonly string[],
  { kernel, stride = 1, padding = [0, 0, 0, 0], groups = 1, sum = null }: ConvolveOptions,
): string {
  const inputs = sum !== null ? [x!, weight!, bias, sum] : bias !== '' ? [x!, weight!, bias] : [x!, weight!]
  const attributes = {
    kernel_shape: kernel,
    strides: [stride, stride],
    pads: padding,
    dilations: [1, 1],
    group: groups,
  }
  return emit('Conv', inputs, attributes, { domain: nchwc })
}

/** What a convolution reads: blocks, or a recorded picture of fewer channels than a block has; null for neither. */
function operand(emitter: Emitter, node: Node, width: number): string | null {
  const channels = node.shape[1] as number
  if (channels % width === 0) return blocked(emitter, node)
  return channels < width ? recorded(emitter, node) : null
}

/** y = w ∗ x (+ sum) in blocks: [N, C, H, W], [O, C, K, K] and [O] → [N, O, H', W']; null where they do not fit. */
export function blockedConvolution(
  emitter: Emitter,
  { inputs: [x, weight, bias], attributes }: OpNode<'conv2d'>,
  sum: string | null,
): string | null {
  const { emit, blockWidth: width } = emitter
  const [outputs, inputs, kernel] = weight!.shape as Shape4
  if (!fits(width, outputs)) return null
  const source = operand(emitter, x!, width)
  if (source === null) return null

  // [O, C·K²] → [O/B, C·K², B], and where x is in blocks → [O/B, C/B, K², B of C, B of O]
  const taps = kernel * kernel
  const columns = block(emitter, reshape(emitter, recorded(emitter, weight!), [1, outputs, inputs * taps, 1]))
  const parts = [outputs / width, inputs / width, width, taps, width]
  const blocks = fits(width, inputs)
    ? emit('Transpose', [reshape(emitter, columns, parts)], { perm: [0, 1, 3, 2, 4] })
    : columns
  const w = reshape(emitter, blocks, [outputs, inputs, kernel, kernel])
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
  const { emit, int64, blockWidth: width } = emitter
  const [outputs, inputs, kernel] = weight!.shape as Shape4
  if (stride !== 1 || !fits(width, inputs)) return null
  const source = operand(emitter, dy!, width)
  if (source === null) return null

  // [O, C, K²] → [O, C/B, K², B] → [C/B, O/B, K², B of O, B of C], or [C/B, O, K², B of C]; taps in reverse
  const taps = kernel * kernel
  const rows = block(emitter, reshape(emitter, recorded(emitter, weight!), [outputs, inputs, taps, 1]))
  const [parts, perm, axis] = fits(width, outputs)
    ? [[outputs / width, width, inputs / width, taps, width], [2, 0, 3, 1, 4], 2]
    : [[outputs, inputs / width, taps, width], [1, 0, 2, 3], 2]
  const swapped = emit('Transpose', [reshape(emitter, rows, parts)], { perm })
  const reverse = int64(Array.from({ length: taps }, (_, i) => taps - 1 - i))
  const flipped = taps === 1 ? swapped : emit('Gather', [swapped, reverse], { axis })
  const w = reshape(emitter, flipped, [inputs, outputs, kernel, kernel])
  const around = padding.map((pad) => kernel - 1 - pad) as [number, number, number, number]
  return convolve(emitter, [source, w], { kernel: [kernel, kernel], padding: around, sum })
}

/**
 * dw where the convolution keeps the size: a convolution too, in which channels take the place of the batch, pictures
 * the place of channels, and dy that of the weight: dw[o, c] = Σₙ x[c, n] ∗ dy[o, n], K×K values from kernels as large
 * as a picture. The kernel that reads plain input takes fewer channels than a block has: the pictures are convolved in
 * groups, whose results are added up.
 * @returns dw as recorded, or null where blocks do not fit
 */
export function blockedWeightGrad(
  emitter: Emitter,
  { inputs: [x, dy], attributes: { stride, padding, kernel } }: OpNode<'conv2dWeightGrad'>,
): string | null {
  const { emit, blockWidth: width } = emitter
  const [n, inputs, height, columns] = x!.shape as Shape4
  const outputs = dy!.shape[1] as number
  const around = (kernel - 1) / 2
  if (kernel === 1 || stride !== 1 || padding.some((pad) => pad !== around) || !fits(width, outputs))
    return null
  const groups = groupsFor(n, width)
  if (groups === null) return null
  const each = n / groups

  const source = emit('Transpose', [padColumns(emitter, x!, around)], { perm: [1, 0, 2, 3] })

  // [groups, N/groups, O/B, H·W·B] → [groups, O/B, N/groups, H·W·B]
  const parts = [groups, each, outputs / width, height * columns * width]
  const blocks = emit('Transpose', [reshape(emitter, blocked(emitter, dy!), parts)], { perm: [0, 2, 1, 3] })
  const weight = reshape(emitter, blocks, [groups * outputs, each, height, columns])

  const options = { kernel: [height, columns], padding: [around, 0, around, 0], groups } as const
  // [C, groups · O, K, K] in blocks, the sum over groups taken as a product with ones → [C, O, K, K] → [O, C, K, K]
  const sums = convolve(emitter, [source, weight], options)
  const byGroup = reshape(emitter, sums, [inputs, groups, outputs * kernel * kernel])
  const total = groups === 1 ? byGroup : emit('MatMul', [onesRow(emitter, groups), byGroup])
  const blockedSum = reshape(emitter, total, [inputs, outputs, kernel, kernel])
  return emit('Transpose', [unblock(emitter, blockedSum, [inputs, outputs])], { perm: [1, 0, 2, 3] })
}

/**
 * x with zeros before and after every row, as recorded: a convolution with padding and ones for its kernel, which takes
 * half as long as Pad. Inside the convolution of dw itself padded columns are slow, and padded rows cost nothing.
 */
function padColumns(emitter: Emitter, x: Node, pixels: number): string {
  const { emit, int64, float, once } = emitter
  if (!isBlocked(emitter, x)) {
    const sides = int64([0, 0, 0, pixels, 0, 0, 0, pixels])
    return emit('Pad', [recorded(emitter, x), sides], { mode: 'constant' })
  }
  const channels = x.shape[1] as number
  const ones = once(`ones ${channels} 1×1`, () =>
    float(new Float32Array(channels).fill(1), [channels, 1, 1, 1]),
  )
  const options = { kernel: [1, 1], padding: [0, pixels, 0, pixels], groups: channels } as const
  return unblock(emitter, convolve(emitter, [blocked(emitter, x), ones], options), x.shape)
}

/**
 * The least number of groups in which there are fewer than `width` pictures each; null for numbers of pictures that
 * the blocked convolution does not take.
 */
function groupsFor(batch: number, width: number): number | null {
  if (batch < width) return 1
  for (let groups = 2; groups < batch; groups++) {
    if (batch % groups === 0 && batch / groups < width) return groups
  }
  return null
}
