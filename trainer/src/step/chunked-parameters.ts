import type { Graph, Node } from '../algebra/graph.ts'
import { sameShape } from '../algebra/shape-rules.ts'
import type { Parameters } from '../network/layers.ts'
import type { Chunk } from '../network/parameters.ts'
import type { stateNames } from './optimizer.ts'

/** Flat vectors [P] whose chunks are inputs or outputs of the graphs of a step. */
export type VectorName = (typeof stateNames)[number] | 'accumulated' | 'gradients'

/** Returns the name of the graph input or output for a chunk of a vector. */
export function chunkName(name: VectorName, chunk: number): string {
  return `${name}.${chunk}`
}

/** The network's parameters in a graph whose inputs are chunks: each parameter is a slice of its chunk. */
export interface ChunkedParameters {
  /** Parameter tensors of each chunk. */
  readonly views: readonly (readonly Node[])[]
  /** Returns the node of a parameter. */
  readonly parameters: Parameters<Node>
}

/** Adds one input per chunk to a graph. Each parameter that is in no chunk becomes an input with its name. */
export function chunkedParameters({ ops, input }: Graph, chunks: readonly Chunk[]): ChunkedParameters {
  const views = chunks.map((chunk, i) => {
    const whole = input(chunkName('parameters', i), chunk.shape)
    return chunk.entries.map(({ shape, offset, size }) => {
      if (sameShape(shape, chunk.shape)) return whole
      const start = offset - chunk.start
      return ops.reshape(ops.slice(whole, { axis: 0, start, end: start + size }), shape)
    })
  })
  const byName = new Map(
    chunks.flatMap(({ entries }, i) => entries.map(({ name }, j) => [name, views[i]![j]!] as const)),
  )
  return { views, parameters: ({ name, shape }) => byName.get(name) ?? input(name, shape) }
}
