import type { Node, OpNode } from '../../../algebra/graph.ts'
import { reshape } from '../emit/composites.ts'
import {
  blockFlippedKernel,
  blockKernel,
  convolve,
  correlate,
  countGroups,
  type Shape4,
} from './convolution.ts'
import { type BlockedEmitter, blockedNameOf, fits, isBlocked } from './layout.ts'

// A 3×3 convolution of an upsampled image reads each pixel of the original image several times. The output pixels
// (2i + a, 2j + b) with the same (a, b), 0 or 1 each, are called a phase. Each phase equals a 2×2 convolution of the original
// image: taps of the 3×3 kernel that read the same original pixel are summed. For each original pixel, the four phases take
// 4 · 4 = 16 products instead of 4 · 9 = 36, and the upsampled image is not stored.

const phases = [
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
] as const
type Phase = (typeof phases)[number]

/** Returns the padding of the original image: top and left for phase 0, bottom and right for phase 1. */
const paddingOf = ([a, b]: Phase) => [1 - a, 1 - b, a, b] as const

/** Returns the tap (0 or 1) of a phase to which a tap (0 to 2) of the 3×3 kernel contributes, along one axis. */
const phaseTap = (phase: number, tap: number) => (phase === 0 ? Math.min(tap, 1) : Math.max(tap - 1, 0))

/** Adds a constant [9, 16]: 1 where a tap of the 3×3 kernel contributes to a tap of a phase. */
function tapSums(emitter: BlockedEmitter): string {
  return emitter.once('sums of taps', () => {
    const sums = new Float32Array(9 * 16)
    for (const [p, [a, b]] of phases.entries()) {
      for (let tap = 0; tap < 9; tap++) {
        const [y, x] = [phaseTap(a, Math.floor(tap / 3)), phaseTap(b, tap % 3)]
        sums[tap * 16 + p * 4 + y * 2 + x] = 1
      }
    }
    return emitter.float(sums, [9, 16])
  })
}

/** Emits the kernels [O, C, 2, 2] of the four phases. */
function phaseKernels(emitter: BlockedEmitter, weight: string, [outputs, inputs]: Shape4): string[] {
  const { emit, int64 } = emitter
  const sums = emit('MatMul', [reshape(emitter, weight, [outputs * inputs, 9]), tapSums(emitter)])
  return phases.map((_, p) => {
    const taps = emit('Slice', [sums, int64([4 * p]), int64([4 * p + 4]), int64([1])])
    return reshape(emitter, taps, [outputs, inputs, 2, 2])
  })
}

/** Emits the pixels of one phase, by a depthwise convolution with stride 2: blocked [N, C, 2H, 2W] → blocked [N, C, H, W]. */
function phasePixels(emitter: BlockedEmitter, dy: string, channels: number, [a, b]: Phase): string {
  const selector = emitter.once(`pixels ${channels} ${a} ${b}`, () => {
    const values = new Float32Array(4 * channels)
    const width = emitter.blockWidth
    // [C/B, 2, 2, B]
    for (let i = 0; i < values.length; i++) if (Math.floor(i / width) % 4 === 2 * a + b) values[i] = 1
    return emitter.float(values, [channels, 1, 2, 2])
  })
  return convolve(emitter, [dy, selector], { kernel: [2, 2], stride: 2, groups: channels })
}

/** Returns whether a 3×3 convolution preserves the size. */
const preservesSize = ({
  stride,
  padding,
}: {
  readonly stride: number
  readonly padding: readonly number[]
}) => stride === 1 && padding.every((pad) => pad === 1)

/** Returns the input of upsample2x. Returns null if x is not the result of upsample2x, or if the input is not blocked. */
function upsampleInput(emitter: BlockedEmitter, x: Node): Node | null {
  const source = x.kind === 'op' && x.op === 'upsample2x' ? x.inputs[0]! : null
  return source && isBlocked(emitter, source) ? source : null
}

/** Emits the 3×3 convolution of an upsampled image in blocked layout; returns null for other convolutions. */
export function upsampledConvolution(
  emitter: BlockedEmitter,
  { inputs: [x, weight, bias], attributes, shape }: OpNode<'conv2d'>,
): string | null {
  const { emit, blockWidth: width } = emitter
  const source = upsampleInput(emitter, x!)
  const [outputs, inputs, kernel] = weight!.shape as Shape4
  if (!source || kernel !== 3 || !preservesSize(attributes) || !fits(width, outputs, inputs)) return null
  const kernels = phaseKernels(emitter, emitter.nameOf(weight!), weight!.shape as Shape4)
  const [n, , height, columns] = source.shape as Shape4
  const rows = (n * outputs) / width
  const parts = phases.map((phase, p) => {
    const w = blockKernel(emitter, kernels[p]!, [outputs, inputs, 2])
    const operands = [blockedNameOf(emitter, source), w, ...(bias ? [emitter.nameOf(bias)] : [])]
    const y = convolve(emitter, operands, { kernel: [2, 2], padding: paddingOf(phase) })
    return reshape(emitter, y, [rows, height, columns, width])
  }) as [string, string, string, string]
  // Interleave the columns of phases (a, 0) and (a, 1), then the rows of a = 0 and a = 1.
  const lines = [parts.slice(0, 2), parts.slice(2)].map((pair) =>
    reshape(emitter, emit('Concat', pair, { axis: 3 }), [rows, height, 2 * columns * width]),
  )
  return reshape(emitter, emit('Concat', lines, { axis: 2 }), shape)
}

/**
 * Emits the gradient of the original image in blocked layout. It replaces the node sumPool2x(conv2dInputGrad(…)).
 * @returns null if the input of sumPool2x has other readers, or is not the gradient of a 3×3 convolution that preserves the
 *   size
 */
export function upsampledInputGrad(
  emitter: BlockedEmitter,
  { inputs: [dx] }: OpNode<'sumPool2x'>,
): string | null {
  if (dx!.kind !== 'op' || dx!.op !== 'conv2dInputGrad' || emitter.readersOf(dx!).length !== 1) return null
  const { inputs, attributes } = dx as OpNode<'conv2dInputGrad'>
  const [dy, weight] = inputs as readonly [Node, Node]
  const [outputs, channels, kernel] = weight.shape as Shape4
  if (kernel !== 3 || !preservesSize(attributes) || !isBlocked(emitter, dy)) return null
  if (!fits(emitter.blockWidth, outputs, channels)) return null
  const kernels = phaseKernels(emitter, emitter.nameOf(weight), weight.shape as Shape4)
  return phases.reduce<string | null>((sum, phase, p) => {
    const w = blockFlippedKernel(emitter, kernels[p]!, [outputs, channels, 2])
    const [top, left, bottom, right] = paddingOf(phase)
    const padding = [bottom, right, top, left] as const
    const pixels = phasePixels(emitter, blockedNameOf(emitter, dy), outputs, phase)
    return convolve(emitter, [pixels, w], { kernel: [2, 2], padding, sum })
  }, null)
}

/** Emits dw of the 3×3 convolution of an upsampled image in plain layout; returns null for other convolutions. */
export function upsampledWeightGrad(
  emitter: BlockedEmitter,
  { inputs: [x, dy], attributes, shape }: OpNode<'conv2dWeightGrad'>,
): string | null {
  const { emit, blockWidth: width } = emitter
  const source = upsampleInput(emitter, x!)
  if (!source || attributes.kernel !== 3 || !preservesSize(attributes) || !isBlocked(emitter, dy!))
    return null
  const [n, inputs, height, columns] = source.shape as Shape4
  const outputs = dy!.shape[1] as number
  if (!fits(width, outputs) || countGroups(n, width) === null) return null
  const taps = phases.map((phase) => {
    const pixels = phasePixels(emitter, blockedNameOf(emitter, dy!), outputs, phase)
    const sums = correlate(emitter, [source, pixels], [n, outputs, height, columns], {
      padding: paddingOf(phase),
    })
    return reshape(emitter, sums, [outputs * inputs, 4])
  })
  // A tap of the 3×3 kernel contributes to one tap of each phase. The adjoint of these sums is the transposed matrix.
  const spread = emit('Transpose', [tapSums(emitter)], { perm: [1, 0] })
  return reshape(emitter, emit('MatMul', [emit('Concat', taps, { axis: 1 }), spread]), shape)
}
