import type { Node, OpNode } from '../../../algebra/graph.ts'
import { reshape } from '../emit/composites.ts'
import type { Emitter } from '../emit/emitter.ts'
import {
  convolve,
  correlation,
  flippedBlocks,
  groupsFor,
  kernelBlocks,
  padColumns,
  type Shape4,
} from './convolution.ts'
import { blocked, fits, isBlocked, recorded, unblock } from './layout.ts'

// A 3×3 convolution of a picture whose pixels were doubled sees each of them several times: at the output pixels (2i + a,
// 2j + b) of a phase (a, b) it is a 2×2 convolution of the small picture, its taps the sums of those that meet the same
// pixel. Four phases of four taps take 16 products for 36, and the doubled picture is never made.

const phases = [
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
] as const
type Phase = (typeof phases)[number]

/** Zeros around the small picture: above and left for phase 0, below and right for phase 1. */
const paddingOf = ([a, b]: Phase) => [1 - a, 1 - b, a, b] as const

/** Which of the two taps of a phase a tap of three is part of. */
const tapOf = (phase: number, tap: number) => (phase === 0 ? Math.min(tap, 1) : Math.max(tap - 1, 0))

/** [9, 16]: 1 where a tap of the 3×3 kernel is part of a tap of a phase. */
function tapSums(emitter: Emitter): string {
  return emitter.once('sums of taps', () => {
    const sums = new Float32Array(9 * 16)
    for (const [p, [a, b]] of phases.entries()) {
      for (let tap = 0; tap < 9; tap++) {
        const [y, x] = [tapOf(a, Math.floor(tap / 3)), tapOf(b, tap % 3)]
        sums[tap * 16 + p * 4 + y * 2 + x] = 1
      }
    }
    return emitter.float(sums, [9, 16])
  })
}

/** The kernels [O, C, 2, 2] of the phases. */
function kernelsOf(emitter: Emitter, weight: string, [outputs, inputs]: Shape4): string[] {
  const { emit, int64 } = emitter
  const sums = emit('MatMul', [reshape(emitter, weight, [outputs * inputs, 9]), tapSums(emitter)])
  return phases.map((_, p) => {
    const own = emit('Slice', [sums, int64([4 * p]), int64([4 * p + 4]), int64([1])])
    return reshape(emitter, own, [outputs, inputs, 2, 2])
  })
}

/** The pixels of a phase: a convolution that takes one of four. */
function pixelsOf(emitter: Emitter, dy: string, channels: number, [a, b]: Phase): string {
  const pick = emitter.once(`pixels ${channels} ${a} ${b}`, () => {
    const values = new Float32Array(4 * channels)
    const width = emitter.blockWidth!
    // [C/B, 2, 2, B]
    for (let i = 0; i < values.length; i++) if (Math.floor(i / width) % 4 === 2 * a + b) values[i] = 1
    return emitter.float(values, [channels, 1, 2, 2])
  })
  return convolve(emitter, [dy, pick], { kernel: [2, 2], stride: 2, groups: channels })
}

const isSame = ({ stride, padding }: { readonly stride: number; readonly padding: readonly number[] }) =>
  stride === 1 && padding.every((pad) => pad === 1)

/** The small picture behind a doubled one, in blocks; null where it is something else. */
function doubled(emitter: Emitter, x: Node): Node | null {
  const small = x.kind === 'op' && x.op === 'upsample2x' ? x.inputs[0]! : null
  return small && isBlocked(emitter, small) ? small : null
}

/** The convolution of a doubled picture, in blocks; null where it is another one. */
export function upsampledConvolution(
  emitter: Emitter,
  { inputs: [x, weight, bias], attributes, shape }: OpNode<'conv2d'>,
): string | null {
  const { emit, blockWidth: width } = emitter
  const small = doubled(emitter, x!)
  const [outputs, inputs, kernel] = weight!.shape as Shape4
  if (!small || kernel !== 3 || !isSame(attributes) || !fits(width, outputs, inputs)) return null
  const kernels = kernelsOf(emitter, recorded(emitter, weight!), weight!.shape as Shape4)
  const [n, , height, columns] = small.shape as Shape4
  const rows = (n * outputs) / width
  const parts = phases.map((phase, p) => {
    const w = kernelBlocks(emitter, kernels[p]!, [outputs, inputs, 2])
    const operands = [blocked(emitter, small), w, ...(bias ? [recorded(emitter, bias)] : [])]
    const y = convolve(emitter, operands, { kernel: [2, 2], padding: paddingOf(phase) })
    return reshape(emitter, y, [rows, height, columns, width])
  }) as [string, string, string, string]
  // Pixels side by side, then rows below each other.
  const lines = [parts.slice(0, 2), parts.slice(2)].map((pair) =>
    reshape(emitter, emit('Concat', pair, { axis: 3 }), [rows, height, 2 * columns * width]),
  )
  return reshape(emitter, emit('Concat', lines, { axis: 2 }), shape)
}

/** dx of the small picture, in blocks, where dx of the doubled one is all that is summed up; null otherwise. */
export function upsampledInputGrad(emitter: Emitter, { inputs: [dx] }: OpNode<'sumPool2x'>): string | null {
  if (dx!.kind !== 'op' || dx!.op !== 'conv2dInputGrad' || emitter.readersOf(dx!).length !== 1) return null
  const { inputs, attributes } = dx as OpNode<'conv2dInputGrad'>
  const [dy, weight] = inputs as readonly [Node, Node]
  const [outputs, channels, kernel] = weight.shape as Shape4
  if (kernel !== 3 || !isSame(attributes) || !isBlocked(emitter, dy)) return null
  if (!fits(emitter.blockWidth, outputs, channels)) return null
  const kernels = kernelsOf(emitter, recorded(emitter, weight), weight.shape as Shape4)
  return phases.reduce<string | null>((sum, phase, p) => {
    const w = flippedBlocks(emitter, kernels[p]!, [outputs, channels, 2])
    const [top, left, bottom, right] = paddingOf(phase)
    const padding = [bottom, right, top, left] as const
    const pixels = pixelsOf(emitter, blocked(emitter, dy), outputs, phase)
    return convolve(emitter, [pixels, w], { kernel: [2, 2], padding, sum })
  }, null)
}

/** dw of the convolution of a doubled picture, as recorded; null where it is another one. */
export function upsampledWeightGrad(
  emitter: Emitter,
  { inputs: [x, dy], attributes, shape }: OpNode<'conv2dWeightGrad'>,
): string | null {
  const { emit, blockWidth: width } = emitter
  const small = doubled(emitter, x!)
  if (!small || attributes.kernel !== 3 || !isSame(attributes) || !isBlocked(emitter, dy!)) return null
  const [n, inputs, height, columns] = small.shape as Shape4
  const outputs = dy!.shape[1] as number
  if (!fits(width, outputs) || groupsFor(n, width) === null) return null
  const taps = phases.map((phase) => {
    const [top, left, bottom, right] = paddingOf(phase)
    const operands = [
      padColumns(emitter, small, [left, right]),
      pixelsOf(emitter, blocked(emitter, dy!), outputs, phase),
    ] as const
    const found = correlation(emitter, operands, {
      n,
      few: inputs,
      many: outputs,
      height,
      columns,
      rows: [top, bottom],
    })
    const swapped = emit('Transpose', [unblock(emitter, found, [inputs, outputs])], { perm: [1, 0, 2, 3] })
    return reshape(emitter, swapped, [outputs * inputs, 4])
  })
  // Every tap of three has its part in one tap of each phase: the sums, transposed.
  const spread = emit('Transpose', [tapSums(emitter)], { perm: [1, 0] })
  return reshape(emitter, emit('MatMul', [emit('Concat', taps, { axis: 1 }), spread]), shape)
}
