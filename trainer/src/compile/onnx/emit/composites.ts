import type { Primitives, Shape } from '../../../algebra/ops.ts'
import { type Emitter, microsoftDomain } from './emitter.ts'

/** Emits a reshape. ONNX infers the symbolic batch size from the number of elements. */
export function reshape({ emit, int64 }: Emitter, x: string, shape: Shape): string {
  return emit('Reshape', [x, int64(shape.map((dim) => (dim === 'N' ? -1 : dim)))])
}

/** Emits a matrix product over the last two axes. Each factor can be transposed. */
export function matmul(
  { emit, dialect }: Emitter,
  [a, b]: readonly [string, string],
  { transposeA, transposeB, rank }: Primitives['matmul'] & { rank: number },
): string {
  if (!transposeA && !transposeB) return emit('MatMul', [a, b])
  if (dialect === 'onnxruntime') {
    const attributes = { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: 1 } }
    return emit('FusedMatMul', [a, b], attributes, { domain: microsoftDomain })
  }
  const perm = Array.from({ length: rank }, (_, axis) => axis)
  perm.splice(-2, 2, rank - 1, rank - 2)
  const transposed = (x: string, transpose: boolean) => (transpose ? emit('Transpose', [x], { perm }) : x)
  return emit('MatMul', [transposed(a, transposeA), transposed(b, transposeB)])
}

/**
 * Emits the sum over the batch: a tensor of N·size elements → [1, size]. For N = 1, returns x itself. The sum is a matrix
 * product with ones, because ReduceSum over the first axis is 20 times slower.
 */
export function sumOverBatch(emitter: Emitter, x: string, [n, size]: readonly [number, number]): string {
  return n === 1 ? x : emitter.emit('MatMul', [onesRow(emitter, n), reshape(emitter, x, [n, size])])
}

/** Adds a constant [1, n] of ones. */
export function onesRow({ float, once }: Emitter, n: number): string {
  return once(`ones row ${n}`, () => float(new Float32Array(n).fill(1), [1, n]))
}
