import type { Node, OpNode } from '../../../algebra/graph.ts'
import {
  type AttributeMessage,
  attributeTypes,
  dataTypes,
  type NodeMessage,
  type TensorMessage,
} from './schema.ts'

/**
 * Operators that a model may use:
 * - 'standard': only operators of the ONNX standard, for exported models
 * - 'onnxruntime': also onnxruntime's contributed operators (domain com.microsoft), for models that this process runs
 */
export type Dialect = 'standard' | 'onnxruntime'

/** Domain of onnxruntime's contributed operators. */
export const microsoftDomain = 'com.microsoft'

type AttributeValue = number | string | readonly number[] | { readonly float: number }

/** Adds operators and constants to an ONNX graph. Tensors are referred to by name. */
export interface Emitter {
  readonly dialect: Dialect
  /** Returns the name of a lowered node's tensor, in row-major order of the node's axes. */
  nameOf(node: Node): string
  /**
   * Returns the operations that read a node. An operation that reads it twice occurs twice. null means that the node is an
   * output of the graph.
   */
  readersOf(node: Node): readonly (OpNode | null)[]
  /**
   * Adds an operator and returns the name of its first output. An operator with the same inputs and attributes as an
   * earlier one returns the earlier output. The name '' omits an optional input or output.
   */
  emit(
    opType: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, AttributeValue>>,
    extra?: { readonly domain?: string; readonly outputs?: readonly string[] },
  ): string
  /** Adds a constant [values.length] and returns its name. */
  int64(values: readonly number[]): string
  /** Adds a constant and returns its name. */
  float(values: ArrayLike<number>, dims: readonly number[]): string
  /** Returns the cached result for a key. The first call for a key creates it with `create`. */
  once<T>(key: string, create: () => T): T
}

/** An ONNX graph under construction. */
export interface GraphBuilder extends Emitter {
  readonly nodes: NodeMessage[]
  readonly initializers: TensorMessage[]
  /**
   * Sets the tensor of a node.
   * @param name returns the tensor's name. It is called when an operator reads the node, so it can emit a layout conversion
   *   only when one is needed.
   */
  define(node: Node, name: () => string): void
}

/** Creates an empty ONNX graph. */
export function createGraphBuilder(dialect: Dialect, readersOf: Emitter['readersOf']): GraphBuilder {
  const nodes: NodeMessage[] = []
  const initializers: TensorMessage[] = []
  const names = new Map<Node, () => string>()
  const cache = new Map<string, unknown>()
  let count = 0

  function once<T>(key: string, create: () => T): T {
    if (!cache.has(key)) cache.set(key, create())
    return cache.get(key) as T
  }

  function addInitializer(
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
    nodes,
    initializers,
    once,
    readersOf,
    define: (node, name) => names.set(node, name),
    nameOf(node) {
      const name = names.get(node)
      if (name === undefined) throw new Error(`Cannot read node ${node.id}: it has not been lowered yet.`)
      return name()
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
      return outputs ? add() : once(JSON.stringify([opType, inputs, attributes, domain]), add)
    },
    int64: (values) =>
      once(`int64 ${values}`, () =>
        addInitializer(
          'constant/i',
          [values.length],
          dataTypes.int64,
          bytesOf(BigInt64Array.from(values, BigInt)),
        ),
      ),
    float(values, dims) {
      const create = () =>
        addInitializer('constant/f', dims, dataTypes.float, bytesOf(Float32Array.from(values)))
      return values.length <= 16 ? once(`float ${dims}: ${Array.from(values)}`, create) : create()
    },
  }
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
