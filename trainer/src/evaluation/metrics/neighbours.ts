import { createGraph } from '../../algebra/graph.ts'
import { compile } from '../../engines/onnxruntime.ts'
import ort from '../../support/onnxruntime-node.ts'
import { type Features, squaredDistance } from './features.ts'

export interface Neighbour {
  readonly index: number
  /** Euclidean distance. */
  readonly distance: number
}

/** Rows that are read in blocks, because all of them as float32 may not fit in memory. */
export interface RowBlocks {
  readonly count: number
  readonly dims: number
  /** Returns rows `from` to `to` − 1. */
  read(from: number, to: number): Float32Array
}

/** Max rows and values of a block. */
const [maxRows, maxValues] = [1024, 2 ** 24]

/**
 * Finds the k nearest rows of `candidates` for each row of `queries`, the nearest first. The search computes
 * ‖a − b‖² = ‖a‖² + ‖b‖² − 2ab with onnxruntime, which is many times faster than a loop. The distances of the rows that it
 * finds are computed again without its rounding errors.
 * @param k if there are fewer candidates, all are returned
 * @param onProgress receives the number of candidates that were compared with all queries
 */
export async function nearestRows(
  queries: Features,
  candidates: RowBlocks,
  k: number,
  onProgress: (done: number) => Promise<void> = async () => {},
): Promise<Neighbour[][]> {
  const { dims } = queries
  const block = Math.max(1, Math.min(maxRows, candidates.count, Math.floor(maxValues / dims)))
  const { ops, input } = createGraph()
  const [a, b] = [input('a', ['N', dims]), input('b', [block, dims])]
  const session = await compile({ products: ops.matmul(a, b, { transposeB: true }) }, new Map())
  const nearest = Array.from({ length: queries.count }, () => new Smallest(k))

  for (let from = 0; from < candidates.count; from += block) {
    const to = Math.min(from + block, candidates.count)
    const rows = new Float32Array(block * dims)
    rows.set(candidates.read(from, to))
    const candidateNorms = squaredNorms(rows, dims)
    for (let first = 0; first < queries.count; first += block) {
      const some = queries.values.subarray(first * dims, Math.min(first + block, queries.count) * dims)
      const { products } = await session.run({
        a: new ort.Tensor('float32', some, [some.length / dims, dims]),
        b: new ort.Tensor('float32', rows, [block, dims]),
      })
      const values = products!.data as Float32Array
      for (const [i, norm] of squaredNorms(some, dims).entries()) {
        for (let j = 0; j < to - from; j++)
          nearest[first + i]!.add(from + j, norm + candidateNorms[j]! - 2 * values[i * block + j]!)
      }
    }
    await onProgress(to)
  }
  await session.release()
  return nearest.map(({ indices }, i) =>
    indices
      .map((index) => {
        const row = { count: 1, dims, values: candidates.read(index, index + 1) }
        return { index, distance: Math.sqrt(squaredDistance(queries, i, row, 0)) }
      })
      .sort((x, y) => x.distance - y.distance),
  )
}

/** Returns rows in memory as blocks. */
export function blocksOf({ count, dims, values }: Features): RowBlocks {
  return { count, dims, read: (from, to) => values.subarray(from * dims, to * dims) }
}

function squaredNorms(values: Float32Array, dims: number): Float64Array {
  const norms = new Float64Array(values.length / dims)
  for (let i = 0; i < norms.length; i++) {
    let sum = 0
    for (let k = i * dims; k < (i + 1) * dims; k++) sum += values[k]! ** 2
    norms[i] = sum
  }
  return norms
}

/** The indices of the k smallest values so far, ascending by value. */
class Smallest {
  readonly indices: number[] = []
  readonly #values: number[] = []
  readonly #k: number

  constructor(k: number) {
    this.#k = k
  }

  add(index: number, value: number): void {
    const values = this.#values
    if (values.length === this.#k) {
      if (value >= values[this.#k - 1]!) return
      values.pop()
      this.indices.pop()
    }
    let at = values.length
    while (at > 0 && values[at - 1]! > value) at--
    values.splice(at, 0, value)
    this.indices.splice(at, 0, index)
  }
}
