import type { Node, OpNode } from '../../../algebra/graph.ts'
import {
  type AttributeMessage,
  attributeTypes,
  dataTypes,
  type NodeMessage,
  type TensorMessage,
} from './schema.ts'

/**
 * Which operators may be used: 'standard' only those of ONNX itself, for files that are given away; 'onnxruntime'
 * also its contributed ones (domain com.microsoft), for graphs that live in this process alone.
 */
export type Dialect = 'standard' | 'onnxruntime'

/** Contributed operators, and those of its blocked layout (blocked.ts). */
export const microsoft = 'com.microsoft'
export const nchwc = 'com.microsoft.nchwc'

/**
 * A value and how it lies in memory: as it was recorded, or, a picture [N, C, H, W], in blocks of channels
 * (layout.ts).
 */
export interface Value {
  readonly name: string
  readonly layout: 'recorded' | 'blocked'
}

type AttributeValue = number | string | readonly number[] | { readonly float: number }

export interface Emitter {
  readonly dialect: Dialect
  /** Channels per block of the blocked layout, or null to keep to the plain one. */
  readonly blockWidth: number | null
  /** The value of a node that was lowered before. */
  valueOf(node: Node): Value
  /** The operations that read a node, once for every time they do; null for an output of the graph. */
  readersOf(node: Node): readonly (OpNode | null)[]
  /** Adds an operator; returns the name of its first output. An output name may be ''. */
  emit(
    opType: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, AttributeValue>>,
    extra?: { readonly domain?: string; readonly outputs?: readonly string[] },
  ): string
  int64(values: readonly number[]): string
  float(values: ArrayLike<number>, dims: readonly number[]): string
  /** Computes something the first time it is asked for under a key. */
  once<T>(key: string, create: () => T): T
}

/** An emitter and what it has emitted. */
export interface Emission extends Emitter {
  readonly nodes: NodeMessage[]
  readonly initializers: TensorMessage[]
  readonly values: Map<Node, Value>
}

function attributeMessage(name: string, value: AttributeValue): AttributeMessage {
  if (typeof value === 'number') return { name, type: attributeTypes.int, i: value }
  if (typeof value === 'string')
    return { name, type: attributeTypes.string, s: new TextEncoder().encode(value) }
  if ('float' in value) return { name, type: attributeTypes.float, f: value.float }
  return { name, type: attributeTypes.ints, ints: [...value] }
}

function bytesOf(values: Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}

export function createEmission(
  dialect: Dialect,
  blockWidth: number | null,
  readersOf: Emitter['readersOf'],
): Emission {
  const nodes: NodeMessage[] = []
  const initializers: TensorMessage[] = []
  const values = new Map<Node, Value>()
  const cache = new Map<string, unknown>()
  let count = 0

  function once<T>(key: string, create: () => T): T {
    if (!cache.has(key)) cache.set(key, create())
    return cache.get(key) as T
  }

  function initializer(
    prefix: string,
    dims: readonly number[],
    dataType: number,
    rawData: Uint8Array,
  ): string {
    const name = `${prefix}${initializers.length}`
    initializers.push({ name, dims: [...dims], dataType, rawData })
    return name
  }

  return {
    dialect,
    blockWidth,
    nodes,
    initializers,
    values,
    once,
    readersOf,
    valueOf(node) {
      const value = values.get(node)
      if (value === undefined) throw new Error(`Node ${node.id} was used before it was lowered.`)
      return value
    },
    emit(opType, inputs, attributes = {}, { domain = '', outputs } = {}) {
      const add = () => {
        const name = `${opType}_${count++}`
        const output = outputs ? [...outputs] : [name]
        nodes.push({
          opType,
          domain,
          name,
          input: [...inputs],
          output,
          attribute: Object.entries(attributes).map(([key, value]) => attributeMessage(key, value)),
        })
        return output[0]!
      }
      // Operators have no state: the same one on the same values is computed once.
      return outputs ? add() : once(JSON.stringify([opType, inputs, attributes, domain]), add)
    },
    int64: (values) =>
      once(`int64 ${values}`, () =>
        initializer(
          'constant/i',
          [values.length],
          dataTypes.int64,
          bytesOf(BigInt64Array.from(values, BigInt)),
        ),
      ),
    float(values, dims) {
      const create = () =>
        initializer('constant/f', dims, dataTypes.float, bytesOf(Float32Array.from(values)))
      return values.length <= 16 ? once(`float ${dims}: ${Array.from(values)}`, create) : create()
    },
  }
}
