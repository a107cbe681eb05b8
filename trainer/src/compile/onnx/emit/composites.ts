import type { Primitives, Shape } from '../../../algebra/ops.ts'
import { type Emitter, microsoft } from './emitter.ts'

/** A shape as Reshape takes it: the batch is whatever remains. */
function reshapeTarget(shape: Shape): number[] {
  return shape.map((dim) => (dim === 'N' ? -1 : dim))
}

/** A view of another shape. */
export function reshape({ emit, int64 }: Emitter, x: string, shape: Shape): string {
  return emit('Reshape', [x, int64(reshapeTarget(shape))])
}

/** Products of the last two axes with either factor transposed. */
export function matmul(
  { emit, dialect }: Emitter,
  [a, b]: readonly [string, string],
  { transposeA, transposeB, rank }: Primitives['matmul'] & { rank: number },
): string {
  if (!transposeA && !transposeB) return emit('MatMul', [a, b])
  if (dialect === 'onnxruntime') {
    const attributes = { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: 1 } }
    return emit('FusedMatMul', [a, b], attributes, { domain: microsoft })
  }
  const perm = Array.from({ length: rank }, (_, axis) => axis)
  perm.splice(-2, 2, rank - 1, rank - 2)
  const flipped = (x: string, flip: boolean) => (flip ? emit('Transpose', [x], { perm }) : x)
  return emit('MatMul', [flipped(a, transposeA), flipped(b, transposeB)])
}

/** The sum of N rows, [N, size] in any shape → [size]: a product, for ReduceSum over a leading axis is 20 times slower. */
export function sumOverBatch(emitter: Emitter, x: string, [n, size]: readonly [number, number]): string {
  return n === 1 ? x : emitter.emit('MatMul', [onesRow(emitter, n), reshape(emitter, x, [n, size])])
}

/** [1, n] of ones. */
export function onesRow({ float, once }: Emitter, n: number): string {
  return once(`ones row ${n}`, () => float(new Float32Array(n).fill(1), [1, n]))
}
