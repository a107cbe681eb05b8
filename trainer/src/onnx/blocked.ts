import type { Convolution } from '../ops.ts'
import { reshape, sumOverBatch } from './composites.ts'
import { type Emitter, nchwc } from './emitter.ts'

/**
 * Convolutions in onnxruntime's blocked layout: [N, C, H, W] lies in memory as [N, C/B, H, W, B], with B the width of the
 * processor's vectors. Its kernels run at about the peak of the processor where the plain ones reach two thirds, even
 * with the reorderings around them. The layout belongs to onnxruntime's insides: what is built here is tried against the
 * plain operators before it is used (engines/blocks.ts).
 */
export type Shape4 = readonly [number, number, number, number]

/** [N, C, H, W] into blocks; C must be a multiple of the width. */
function block({ emit }: Emitter, x: string): string {
  return emit('ReorderInput', [x], { channels_last: 0 }, { domain: nchwc })
}

function unblock({ emit }: Emitter, x: string, channels: number): string {
  return emit('ReorderOutput', [x], { channels, channels_last: 0 }, { domain: nchwc })
}

function convolve(
  { emit }: Emitter,
  inputs: readonly string[],
  kernel: readonly [number, number],
  { stride, padding, groups = 1 }: Convolution & { readonly groups?: number },
): string {
  const attributes = {
    kernel_shape: kernel,
    strides: [stride, stride],
    pads: padding,
    dilations: [1, 1],
    group: groups,
  }
  return emit('Conv', inputs, attributes, { domain: nchwc })
}

/** Whether so many channels fill whole blocks. */
export function fits(width: number | null, ...channels: readonly number[]): width is number {
  return width !== null && channels.every((count) => count % width === 0)
}

/** y = w ∗ x: [N, C, H, W], [O, C, K, K] and [O] → [N, O, H', W']. */
export function blockedConvolution(
  emitter: Emitter,
  [x, weight, ...bias]: readonly string[],
  [outputs, inputs, kernel]: Shape4,
  attributes: Convolution,
  width: number,
): string {
  const { emit } = emitter
  // [O, C, K²] → [O/B, C, K², B] → [O/B, C/B, K², B of C, B of O]
  const taps = kernel * kernel
  const columns = block(emitter, reshape(emitter, weight!, [1, outputs, inputs * taps, 1]))
  const parts = [outputs / width, inputs / width, width, taps, width]
  const blocks = emit('Transpose', [reshape(emitter, columns, parts)], { perm: [0, 1, 3, 2, 4] })
  const w = reshape(emitter, blocks, [outputs, inputs, kernel, kernel])
  const y = convolve(emitter, [block(emitter, x!), w, ...bias], [kernel, kernel], attributes)
  return unblock(emitter, y, outputs)
}

/** dx at stride 1: the convolution of dy with the weight flipped and its channel axes swapped. */
export function blockedInputGrad(
  emitter: Emitter,
  [dy, weight]: readonly string[],
  [outputs, inputs, kernel]: Shape4,
  padding: Convolution['padding'],
  width: number,
): string {
  const { emit, int64 } = emitter
  // [O, C, K²] → [O, C/B, K², B] → [C/B, O/B, K², B of O, B of C], taps in reverse
  const taps = kernel * kernel
  const rows = block(emitter, reshape(emitter, weight!, [outputs, inputs, taps, 1]))
  const parts = [outputs / width, width, inputs / width, taps, width]
  const blocks = emit('Transpose', [reshape(emitter, rows, parts)], { perm: [2, 0, 3, 1, 4] })
  const reverse = int64(Array.from({ length: taps }, (_, i) => taps - 1 - i))
  const flipped = reshape(emitter, emit('Gather', [blocks, reverse], { axis: 2 }), [
    inputs,
    outputs,
    kernel,
    kernel,
  ])
  const y = convolve(emitter, [block(emitter, dy!), flipped], [kernel, kernel], { stride: 1, padding })
  return unblock(emitter, y, inputs)
}

/**
 * dw where the convolution keeps the size: a convolution too, in which channels take the place of the batch, pictures
 * the place of channels, and dy that of the weight: dw[o, c] = Σₙ x[c, n] ∗ dy[o, n], K×K values from kernels as large
 * as a picture. The kernel that reads plain input takes fewer channels than a block has: the pictures are convolved in
 * groups, whose results are added up.
 */
export function blockedWeightGrad(
  emitter: Emitter,
  [x, dy]: readonly string[],
  [n, inputs, height, columns]: Shape4,
  [outputs, , kernel]: Shape4,
  groups: number,
  width: number,
): string {
  const { emit, int64 } = emitter
  const each = n / groups
  const around = (kernel - 1) / 2

  // Columns are padded here, for that is slow in the convolution itself; rows there, where it costs nothing.
  const padded = emit('Pad', [x!, int64([0, 0, 0, around, 0, 0, 0, around])], { mode: 'constant' })
  const source = emit('Transpose', [padded], { perm: [1, 0, 2, 3] })

  // [groups, N/groups, O/B, H·W·B] → [groups, O/B, N/groups, H·W·B]
  const parts = [groups, each, outputs / width, height * columns * width]
  const blocks = emit('Transpose', [reshape(emitter, block(emitter, dy!), parts)], { perm: [0, 2, 1, 3] })
  const weight = reshape(emitter, blocks, [groups * outputs, each, height, columns])

  const options = { stride: 1, padding: [around, 0, around, 0], groups } as const
  const sums = convolve(emitter, [source, weight], [height, columns], options)
  const bySource = [inputs, groups, outputs, kernel * kernel]
  const byGroup = emit('Transpose', [reshape(emitter, unblock(emitter, sums, groups * outputs), bySource)], {
    perm: [1, 2, 0, 3],
  })
  return reshape(emitter, sumOverBatch(emitter, byGroup, [groups, outputs * inputs * kernel * kernel]), [
    outputs,
    inputs,
    kernel,
    kernel,
  ])
}

/**
 * The least number of groups in which there are fewer than `width` pictures each; null for numbers of pictures that
 * the blocked convolution does not take.
 */
export function groupsFor(batch: number, width: number): number | null {
  if (batch < width) return 1
  if (batch % width !== 0) return null
  for (let groups = 2; ; groups++) if (batch % groups === 0 && batch / groups < width) return groups
}
