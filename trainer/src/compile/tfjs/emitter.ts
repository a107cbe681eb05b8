import type { Shape } from '../../algebra/ops.ts'

/** How a GraphDef's attribute reads in JSON: numbers of 64 bits as text, strings in base64. */
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

/** What a Const node holds; the values go into the weights' file. */
export interface Constant {
  readonly shape: readonly number[]
  readonly values: Float32Array | Int32Array
}

/**
 * How the axes of a value lie: as they were recorded, which for pictures is [N, C, H, W], or a picture with its channels
 * last, which is how TensorFlow's convolutions are supported everywhere.
 */
export type Layout = 'recorded' | 'channelsLast'

export interface Value {
  readonly name: string
  readonly layout: Layout
}

export const float: Attribute = { type: 'DT_FLOAT' }
export const int32: Attribute = { type: 'DT_INT32' }
export const text = (value: string): Attribute => ({ s: Buffer.from(value).toString('base64') })
export const integers = (values: readonly number[]): Attribute => ({ list: { i: values.map(String) } })

export interface Emitter {
  /** Adds an operator; returns the name of its value. */
  emit(op: string, inputs: readonly string[], attributes: Attributes): string
  /** Constants; only those that an operator reads are written. */
  floats(values: ArrayLike<number>, shape: readonly number[], name?: string): string
  integers(values: readonly number[], shape?: readonly number[]): string
  /** The value with its axes in another order; of a constant, another constant. */
  transpose(name: string, permutation: readonly number[]): string
  /** A view of another shape; of a constant, another constant. At most one axis is open. */
  reshape(name: string, shape: Shape): string
  /** Computes something the first time it is asked for under a key. */
  once<T>(key: string, create: () => T): T
}

/** An emitter and what it has emitted. */
export interface Emission extends Emitter {
  readonly nodes: readonly NodeDef[]
  readonly constants: ReadonlyMap<string, Constant>
}

export function createEmission(): Emission {
  const nodes: NodeDef[] = []
  const constants = new Map<string, Constant>()
  const cache = new Map<string, unknown>()

  function once<T>(key: string, create: () => T): T {
    if (!cache.has(key)) cache.set(key, create())
    return cache.get(key) as T
  }

  function hold(name: string, constant: Constant): string {
    constants.set(name, constant)
    return name
  }

  function emit(op: string, input: readonly string[], attr: Attributes): string {
    const name = `${op}_${nodes.length}`
    nodes.push({ name, op, input, attr })
    return name
  }

  const whole = (values: readonly number[], shape: readonly number[] = [values.length]) =>
    once(`integers ${shape}: ${values}`, () =>
      hold(`constant/i${constants.size}`, { shape, values: Int32Array.from(values) }),
    )

  return {
    nodes,
    constants,
    once,
    emit,
    floats(values, shape, name = `constant/f${constants.size}`) {
      const create = () => hold(name, { shape, values: Float32Array.from(values) })
      return values.length === 1 ? once(`float ${shape}: ${values[0]}`, create) : create()
    },
    integers: whole,
    transpose: (name, permutation) =>
      once(`transpose ${name} ${permutation}`, () => {
        const constant = constants.get(name)
        if (constant) return hold(`${name}/axes_${permutation.join('')}`, permuted(constant, permutation))
        return emit('Transpose', [name, whole(permutation)], { T: float, Tperm: int32 })
      }),
    reshape: (name, shape) =>
      once(`reshape ${name} ${shape}`, () => {
        const constant = constants.get(name)
        if (constant) return hold(`${name}/as_${shape.join('x')}`, { ...constant, shape: shape as number[] })
        const target = whole(shape.map((dim) => (dim === 'N' ? -1 : dim)))
        return emit('Reshape', [name, target], { T: float, Tshape: int32 })
      }),
  }
}

/** A constant with its axes in another order: out[p] = in[q] where q[permutation[axis]] = p[axis]. */
function permuted({ shape, values }: Constant, permutation: readonly number[]): Constant {
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
