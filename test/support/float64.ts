import type { Interpreter, Op, Primitives, Shape } from '../../trainer/src/algebra/ops.ts'
import { inferShape, sizeOf } from '../../trainer/src/algebra/shape-rules.ts'

/** Float64 tensor in row-major order. */
export interface Tensor {
  readonly shape: readonly number[]
  readonly data: Float64Array
}

export function tensor(shape: readonly number[], data: ArrayLike<number>): Tensor {
  return { shape, data: Float64Array.from(data) }
}

/** Reference interpreter of the algebra in float64. It defines every primitive independently, for tests. */
export const float64: Interpreter<Tensor> = {
  apply(op, inputs, attributes) {
    const shape = inferShape(
      op,
      inputs.map((input) => input.shape),
      attributes,
    )
    return (rules[op] as Rule<typeof op>)(inputs, attributes, shape)
  },
  shape: (x) => x.shape,
  constant: (values, shape) => tensor(shape, values),
}

/** Creates a tensor from a function of each element's position. */
function tabulate(shape: Shape, f: (position: number[]) => number): Tensor {
  const dims = shape as number[]
  const data = new Float64Array(sizeOf(shape))
  const position = dims.map(() => 0)
  for (let i = 0; i < data.length; i++) {
    data[i] = f(position)
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      position[axis]! += 1
      if (position[axis]! < dims[axis]!) break
      position[axis] = 0
    }
  }
  return { shape: dims, data }
}

/** Returns the element at a position, or 0 outside of the tensor. Axes of size 1 are broadcast. */
function at({ shape, data }: Tensor, position: readonly number[]): number {
  let offset = 0
  for (let axis = 0; axis < shape.length; axis++) {
    const i = shape[axis] === 1 ? 0 : position[axis]!
    if (i < 0 || i >= shape[axis]!) return 0
    offset = offset * shape[axis]! + i
  }
  return data[offset]!
}

function sum(count: number, f: (i: number) => number): number {
  let total = 0
  for (let i = 0; i < count; i++) total += f(i)
  return total
}

type Rule<O extends Op> = (inputs: readonly Tensor[], attributes: Primitives[O], shape: Shape) => Tensor

const binary =
  (f: (a: number, b: number) => number) =>
  ([a, b]: readonly Tensor[], _: unknown, shape: Shape) =>
    tabulate(shape, (position) => f(at(a!, position), at(b!, position)))

const unary =
  (f: (x: number) => number) =>
  ([x]: readonly Tensor[]): Tensor => ({ shape: x!.shape, data: x!.data.map(f) })

const logistic = (x: number) => 1 / (1 + Math.exp(-x))

/** Computes the statistics of the group of channel c in image n. */
function groupStatistics(x: Tensor, n: number, c: number, { groups, eps }: Primitives['groupNorm']) {
  const [, channels, height, width] = x.shape as [number, number, number, number]
  const size = (channels / groups) * height * width
  const start = (n * groups + Math.floor(c / (channels / groups))) * size
  const mean = sum(size, (i) => x.data[start + i]!) / size
  const variance = sum(size, (i) => (x.data[start + i]! - mean) ** 2) / size
  return { mean, invStd: 1 / Math.sqrt(variance + eps) }
}

/** The definitions of the primitives. They are as simple as possible, and therefore slow. */
const rules: { [O in Op]: Rule<O> } = {
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: binary((a, b) => a / b),
  exp: unary(Math.exp),
  log: unary(Math.log),
  sqrt: unary(Math.sqrt),
  sigmoid: unary(logistic),
  silu: unary((x) => x * logistic(x)),
  clamp: ([x], { min, max }) => unary((value) => Math.min(Math.max(value, min), max))([x!]),
  within: ([x], { min, max }) => unary((value) => (value >= min && value <= max ? 1 : 0))([x!]),
  stopGradient: ([x]) => x!,

  reshape: ([x], { shape }) => ({ shape: shape as number[], data: x!.data }),
  transpose: ([x], { permutation }, shape) =>
    tabulate(shape, (position) =>
      at(
        x!,
        permutation.map((_, axis) => position[permutation.indexOf(axis)]!),
      ),
    ),
  broadcastTo: ([x], _, shape) => tabulate(shape, (position) => at(x!, position)),
  reduceSum([x], { axes }, shape) {
    const out = { shape: shape as number[], data: new Float64Array(sizeOf(shape)) }
    const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)))
    tabulate(x!.shape, (position) => {
      const offset = sum(position.length, (axis) =>
        axes.includes(axis) ? 0 : position[axis]! * strides[axis]!,
      )
      out.data[offset]! += at(x!, position)
      return 0
    })
    return out
  },
  concat(inputs, { axis }, shape) {
    return tabulate(shape, (position) => {
      let index = position[axis]!
      for (const input of inputs) {
        if (index < input.shape[axis]!) return at(input, position.with(axis, index))
        index -= input.shape[axis]!
      }
      return Number.NaN
    })
  },
  slice: ([x], { axis, start }, shape) =>
    tabulate(shape, (position) => at(x!, position.with(axis, position[axis]! + start))),
  pad: ([x], { axis, before }, shape) =>
    tabulate(shape, (position) => {
      const index = position[axis]! - before
      return index < 0 || index >= x!.shape[axis]! ? 0 : at(x!, position.with(axis, index))
    }),

  matmul([a, b], { transposeA, transposeB }, shape) {
    const rank = shape.length
    const inner = a!.shape[transposeA ? rank - 2 : rank - 1]!
    return tabulate(shape, (position) => {
      const lead = position.slice(0, -2)
      const [row, column] = position.slice(-2) as [number, number]
      return sum(
        inner,
        (k) =>
          at(a!, [...lead, ...(transposeA ? [k, row] : [row, k])]) *
          at(b!, [...lead, ...(transposeB ? [column, k] : [k, column])]),
      )
    })
  },
  softmax([x], _, shape) {
    const last = shape.length - 1
    return tabulate(shape, (position) => {
      const total = sum(shape[last] as number, (i) => Math.exp(at(x!, position.with(last, i))))
      return Math.exp(at(x!, position)) / total
    })
  },
  gather: ([table, index], _, shape) =>
    tabulate(shape, (position) => at(table!, position.with(0, index!.data[position[0]!]!))),
  oneHot: ([index], _, shape) =>
    tabulate(shape, (position) => (index!.data[position[0]!] === position[1] ? 1 : 0)),

  conv2d([x, weight, bias], { stride, padding }, shape) {
    const [, inputs, kernel] = weight!.shape as [number, number, number]
    return tabulate(
      shape,
      ([n, o, h, w]) =>
        sum(inputs * kernel * kernel, (tap) => {
          const [i, ky, kx] = [Math.floor(tap / kernel ** 2), Math.floor(tap / kernel) % kernel, tap % kernel]
          const [y, z] = [h! * stride + ky - padding[0], w! * stride + kx - padding[1]]
          if (y < 0 || z < 0 || y >= x!.shape[2]! || z >= x!.shape[3]!) return 0
          return at(x!, [n!, i, y, z]) * weight!.data[o! * inputs * kernel ** 2 + tap]!
        }) + (bias?.data[o!] ?? 0),
    )
  },
  // dx[n, i, y, x] is a sum over the output positions (o, h, w) that depend on this pixel.
  conv2dInputGrad([dy, weight], { stride, padding }, shape) {
    const [outputs, , kernel] = weight!.shape as [number, number, number]
    return tabulate(shape, ([n, i, y, x]) =>
      sum(outputs * kernel * kernel, (tap) => {
        const [o, ky, kx] = [Math.floor(tap / kernel ** 2), Math.floor(tap / kernel) % kernel, tap % kernel]
        const [h, w] = [(y! - ky + padding[0]) / stride, (x! - kx + padding[1]) / stride]
        const inside = Number.isInteger(h) && Number.isInteger(w) && h >= 0 && w >= 0
        if (!inside || h >= dy!.shape[2]! || w >= dy!.shape[3]!) return 0
        return (
          dy!.data[((n! * outputs + o) * dy!.shape[2]! + h) * dy!.shape[3]! + w]! *
          at(weight!, [o, i!, ky, kx])
        )
      }),
    )
  },
  conv2dWeightGrad([x, dy], { stride, padding }, shape) {
    const [count, , height, width] = dy!.shape as [number, number, number, number]
    return tabulate(shape, ([o, i, ky, kx]) =>
      sum(count * height * width, (position) => {
        const n = Math.floor(position / (height * width))
        const [h, w] = [Math.floor(position / width) % height, position % width]
        const [y, z] = [h * stride + ky! - padding[0], w * stride + kx! - padding[1]]
        if (y < 0 || z < 0 || y >= x!.shape[2]! || z >= x!.shape[3]!) return 0
        return at(x!, [n, i!, y, z]) * at(dy!, [n, o!, h, w])
      }),
    )
  },
  upsample2x: ([x], _, shape) =>
    tabulate(shape, ([n, c, h, w]) => at(x!, [n!, c!, Math.floor(h! / 2), Math.floor(w! / 2)])),
  sumPool2x: ([x], _, shape) =>
    tabulate(shape, ([n, c, h, w]) =>
      sum(4, (cell) => at(x!, [n!, c!, 2 * h! + Math.floor(cell / 2), 2 * w! + (cell % 2)])),
    ),

  groupNorm([x, scale, shift], attributes, shape) {
    return tabulate(shape, (position) => {
      const [n, c] = position as [number, number]
      const { mean, invStd } = groupStatistics(x!, n, c, attributes)
      return (at(x!, position) - mean) * invStd * scale!.data[c]! + shift!.data[c]!
    })
  },
  groupMean: ([x], attributes, shape) =>
    tabulate(
      shape,
      ([n, group]) => groupStatistics(x!, n!, (group! * x!.shape[1]!) / attributes.groups, attributes).mean,
    ),
  groupInvStd: ([x], attributes, shape) =>
    tabulate(
      shape,
      ([n, group]) => groupStatistics(x!, n!, (group! * x!.shape[1]!) / attributes.groups, attributes).invStd,
    ),
  pixelDot: ([a, b], _, shape) => {
    const [, , height, width] = a!.shape as [number, number, number, number]
    return tabulate(shape, ([n, c]) =>
      sum(height * width, (pixel) => {
        const position = [n!, c!, Math.floor(pixel / width), pixel % width]
        return at(a!, position) * at(b!, position)
      }),
    )
  },
  channelAffine: ([x, scale, shift], _, shape) =>
    tabulate(shape, (position) => {
      const channel = [position[0]!, position[1]!, 0, 0]
      return at(x!, position) * at(scale!, channel) + (shift === undefined ? 0 : at(shift, channel))
    }),
}
