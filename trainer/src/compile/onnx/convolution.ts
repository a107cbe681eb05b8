import type { OpNode } from '../../algebra/graph.ts'
import type { Dim } from '../../algebra/ops.ts'
import { matmul, reshape, sumOverBatch } from './emit/composites.ts'
import type { Emitter } from './emit/emitter.ts'

type ImageShape = readonly [Dim, number, number, number]

/** Emits y = w ∗ x + b: x [N, I, H, W], weight [O, I, K, K], optional bias [O] → [N, O, H', W']. */
export function convolution(
  emitter: Emitter,
  inputs: readonly string[],
  { inputs: [, weight], attributes }: OpNode<'conv2d'>,
): string {
  const kernel = weight!.shape[2] as number
  return emitter.emit('Conv', inputs, {
    kernel_shape: [kernel, kernel],
    strides: [attributes.stride, attributes.stride],
    pads: attributes.padding,
    dilations: [1, 1],
    group: 1,
  })
}

/**
 * Emits dx of a convolution: dy [N, O, H', W'], weight [O, I, K, K] → [N, I, H, W]. At stride 1, dx is the convolution of
 * dy with a kernel: the weight with reversed taps and swapped channel axes. onnxruntime computes this convolution faster
 * than ConvTranspose.
 */
export function convolutionInputGrad(
  emitter: Emitter,
  [dy, weight]: readonly string[],
  node: OpNode<'conv2dInputGrad'>,
): string {
  const { emit, int64 } = emitter
  const { stride, padding, inputShape } = node.attributes
  const [outputs, inputs, kernel] = node.inputs[1]!.shape as [number, number, number]
  const [, , dyHeight, dyWidth] = node.inputs[0]!.shape as ImageShape
  const [, , height, width] = inputShape as ImageShape
  const [top, left, bottom, right] = padding

  if (stride !== 1) {
    // Number of rows at the bottom (columns at the right) of x that the forward pass does not read.
    const unread = (size: number, dySize: number, before: number, after: number) =>
      size - ((dySize - 1) * stride - before - after + kernel)
    return emit('ConvTranspose', [dy!, weight!], {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: padding,
      output_padding: [unread(height, dyHeight, top, bottom), unread(width, dyWidth, left, right)],
      dilations: [1, 1],
      group: 1,
    })
  }

  const gradPadding = padding.map((pad) => kernel - 1 - pad) as [number, number, number, number]
  let flipped = emit('Transpose', [weight!], { perm: [1, 0, 2, 3] })
  if (kernel > 1) {
    const taps = kernel * kernel
    const list = reshape(emitter, flipped, [inputs, outputs, taps])
    const reversed = emit('Gather', [list, int64(Array.from({ length: taps }, (_, i) => taps - 1 - i))], {
      axis: 2,
    })
    flipped = reshape(emitter, reversed, [inputs, outputs, kernel, kernel])
  }
  return emit('Conv', [dy!, flipped], {
    kernel_shape: [kernel, kernel],
    strides: [1, 1],
    pads: gradPadding,
    dilations: [1, 1],
    group: 1,
  })
}

/**
 * Emits dw of a convolution: x [N, I, H, W], dy [N, O, H', W'] → [O, I, K, K]. It is computed as a matrix product over the
 * pixels of each image and a sum over the batch.
 *
 * dw[o, i, ky, kx] = Σ dy[n, o, h, w] · x[n, i, s·h + ky − top, s·w + kx − left]
 *
 * - For each horizontal tap kx, x is multiplied by a matrix that shifts its columns.
 * - For each vertical tap ky, rows are gathered. At stride 1 they are rows of dy, so that x and dy are each repeated K times.
 *   At other strides they are rows of x, so that x is repeated K² times. A row of zeros is appended to the image and replaces
 *   rows that are outside of it.
 */
export function convolutionWeightGrad(
  emitter: Emitter,
  [x, dy]: readonly string[],
  node: OpNode<'conv2dWeightGrad'>,
): string {
  const { emit, float, int64, once } = emitter
  const { stride, padding, kernel } = node.attributes
  const [n, inputs, height, width] = node.inputs[0]!.shape as ImageShape
  const [, outputs, dyHeight, dyWidth] = node.inputs[1]!.shape as ImageShape
  const [top, left] = padding
  const shape = [outputs, inputs, kernel, kernel] as const
  const product = (a: string, b: string) => {
    const batched = matmul(emitter, [a, b], { transposeA: false, transposeB: true, rank: 3 })
    return sumOverBatch(emitter, batched, [n as number, outputs * inputs * kernel * kernel])
  }

  if (kernel === 1 && stride === 1) {
    const pixels = height * width
    const flat = (value: string, channels: number) => reshape(emitter, value, [n, channels, pixels])
    return reshape(emitter, product(flat(dy!, outputs), flat(x!, inputs)), shape)
  }

  /** Gathers value[:, :, row(k, h), :] for all k < kernel and h < count: [N, C, rows, W] → [N, C, kernel · count, W]. */
  const gatherRows = (value: string, rows: number, count: number, row: (k: number, h: number) => number) => {
    const padded = emit('Pad', [value, int64([0, 0, 0, 0, 0, 0, 1, 0])], { mode: 'constant' })
    const indices = Array.from({ length: kernel * count }, (_, i) => {
      const index = row(Math.floor(i / count), i % count)
      return index >= 0 && index < rows ? index : rows
    })
    return emit('Gather', [padded, int64(indices)], { axis: 2 })
  }
  /** Aligns the columns of x with those of dy for each horizontal tap kx: [N, 1, rows, width] → [N, K, rows, dyWidth]. */
  const shiftColumns = (value: string, rows: number) => {
    const shifts = once(`shifts ${kernel} ${stride} ${left} ${width} ${dyWidth}`, () => {
      const matrix = new Float32Array(kernel * width * dyWidth)
      for (let kx = 0; kx < kernel; kx++) {
        for (let w = 0; w < dyWidth; w++) {
          const column = stride * w + kx - left
          if (column >= 0 && column < width) matrix[(kx * width + column) * dyWidth + w] = 1
        }
      }
      return float(matrix, [kernel, width, dyWidth])
    })
    return emit('MatMul', [reshape(emitter, value, [n, 1, rows, width]), shifts])
  }

  if (stride === 1) {
    const taps = shiftColumns(x!, inputs * height)
    const rows = gatherRows(dy!, dyHeight, height, (ky, h) => h - ky + top)
    const sum = product(
      reshape(emitter, rows, [n, outputs * kernel, height * dyWidth]),
      reshape(emitter, taps, [n, kernel * inputs, height * dyWidth]),
    )
    return emit('Transpose', [reshape(emitter, sum, [outputs, kernel, kernel, inputs])], {
      perm: [0, 3, 1, 2],
    })
  }

  const rows = gatherRows(x!, height, dyHeight, (ky, h) => stride * h + ky - top)
  const taps = shiftColumns(rows, inputs * kernel * dyHeight)
  const sum = product(
    reshape(emitter, dy!, [n, outputs, dyHeight * dyWidth]),
    reshape(emitter, taps, [n, kernel * inputs * kernel, dyHeight * dyWidth]),
  )
  return emit('Transpose', [reshape(emitter, sum, [outputs, kernel, inputs, kernel])], { perm: [0, 2, 3, 1] })
}
