import type { Shape } from '../../algebra/ops.ts'

/** Attribute of a GraphDef node in protobuf's JSON encoding: 64-bit integers are strings, bytes are base64. */
export type Attribute =
  | { readonly type: DataType }
  | { readonly b: boolean }
  | { readonly i: string }
  | { readonly s: string }
  | { readonly list: { readonly i: readonly string[] } }
  | { readonly shape: { readonly dim: readonly { readonly size: string }[] } }

export type Attributes = Readonly<Record<string, Attribute>>
export type DataType = 'DT_FLOAT' | 'DT_INT32' | 'DT_BOOL'

/** A node of a GraphDef (tensorflow/core/framework/node_def.proto) in JSON. */
export interface NodeDef {
  readonly name: string
  readonly op: string
  readonly input?: readonly string[]
  readonly attr: Attributes
}

/** Value of a Const node. It is stored in the weights file. */
export interface Constant {
  readonly shape: readonly number[]
  readonly values: Float32Array | Int32Array
}

/**
 * Order of a tensor's axes:
 * - 'plain': as in the algebra's graph, [N, C, H, W] for images
 * - 'channelsLast': [N, H, W, C], the only order that every backend of TensorFlow.js supports for convolutions
 */
export type DataLayout = 'plain' | 'channelsLast'

/** A tensor of the GraphDef: the name of the node that computes it and the order of its axes. */
export interface Tensor {
  readonly name: string
  readonly layout: DataLayout
}

export const float: Attribute = { type: 'DT_FLOAT' }
export const int32: Attribute = { type: 'DT_INT32' }
export const text = (value: string): Attribute => ({ s: Buffer.from(value).toString('base64') })
export const integers = (values: readonly number[]): Attribute => ({ list: { i: values.map(String) } })

/** Adds operators and constants to a GraphDef. Tensors are referred to by name. */
export interface Emitter {
  /** Adds an operator and returns the name of its result. */
  emit(op: string, inputs: readonly string[], attributes: Attributes): string
  /** Adds a float32 constant and returns its name. Constants that no operator reads are not written. */
  floats(values: ArrayLike<number>, shape: readonly number[], name?: string): string
  /** Adds an int32 constant and returns its name. Default shape: [values.length]. */
  integers(values: readonly number[], shape?: readonly number[]): string
  /** Permutes the axes of a tensor. A constant is permuted at compile time. */
  transpose(name: string, permutation: readonly number[]): string
  /** Reshapes a tensor; at most one dimension may be 'N'. A constant is reshaped at compile time. */
  reshape(name: string, shape: Shape): string
  /** Returns the cached result for a key. The first call for a key creates it with `create`. */
  once<T>(key: string, create: () => T): T
}

/** A GraphDef under construction. */
export interface GraphBuilder extends Emitter {
  readonly nodes: readonly NodeDef[]
  readonly constants: ReadonlyMap<string, Constant>
}

/** Creates an empty GraphDef. */
export function createGraphBuilder(): GraphBuilder {
  const nodes: NodeDef[] = []
  const constants = new Map<string, Constant>()
  const cache = new Map<string, unknown>()

  function once<T>(key: string, create: () => T): T {
    if (!cache.has(key)) cache.set(key, create())
    return cache.get(key) as T
  }

  function addConstant(name: string, constant: Constant): string {
    constants.set(name, constant)
    return name
  }

  function emit(op: string, input: readonly string[], attr: Attributes): string {
    const name = `${op}_${nodes.length}`
    nodes.push({ name, op, input, attr })
    return name
  }

  const addIntegers = (values: readonly number[], shape: readonly number[] = [values.length]) =>
    once(`integers ${shape}: ${values}`, () =>
      addConstant(`constant/i${constants.size}`, { shape, values: Int32Array.from(values) }),
    )

  return {
    nodes,
    constants,
    once,
    emit,
    floats(values, shape, name = `constant/f${constants.size}`) {
      const create = () => addConstant(name, { shape, values: Float32Array.from(values) })
      return values.length === 1 ? once(`float ${shape}: ${values[0]}`, create) : create()
    },
    integers: addIntegers,
    transpose: (name, permutation) =>
      once(`transpose ${name} ${permutation}`, () => {
        const constant = constants.get(name)
        if (constant)
          return addConstant(`${name}/axes_${permutation.join('')}`, permute(constant, permutation))
        return emit('Transpose', [name, addIntegers(permutation)], { T: float, Tperm: int32 })
      }),
    reshape: (name, shape) =>
      once(`reshape ${name} ${shape}`, () => {
        const constant = constants.get(name)
        if (constant)
          return addConstant(`${name}/as_${shape.join('x')}`, { ...constant, shape: shape as number[] })
        const target = addIntegers(shape.map((dim) => (dim === 'N' ? -1 : dim)))
        return emit('Reshape', [name, target], { T: float, Tshape: int32 })
      }),
  }
}

/** Permutes the axes of a constant: out[p] = in[q] with q[permutation[axis]] = p[axis]. */
function permute({ shape, values }: Constant, permutation: readonly number[]): Constant {
  const target = permutation.map((axis) => shape[axis]!)
  const strideOf = (axis: number) => shape.slice(axis + 1).reduce((a, b) => a * b, 1)
  const strides = permutation.map(strideOf)
  const out = new Float32Array(values.length)
  const position = target.map(() => 0)
  let from = 0
  for (let to = 0; to < out.length; to++) {
    out[to] = values[from]!
    for (let axis = target.length - 1; axis >= 0; axis--) {
      from += strides[axis]!
      position[axis]! += 1
      if (position[axis]! < target[axis]!) break
      from -= strides[axis]! * target[axis]!
      position[axis] = 0
    }
  }
  return { shape: target, values: out }
}
