import type { Dim, Op, Primitives, Shape } from './ops.ts'

/** Two shapes are equal axis by axis; 'N' equals only 'N'. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis])
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`
}

/** The number of elements and whether the batch is a factor of it. */
function extent(shape: Shape): { size: number; batched: number } {
  let size = 1
  let batched = 0
  for (const dim of shape) {
    if (dim === 'N') batched += 1
    else size *= dim
  }
  return { size, batched }
}

/** The number of elements of a shape without an open batch. */
export function sizeOf(shape: Shape): number {
  const { size, batched } = extent(shape)
  if (batched > 0) throw new Error(`The shape ${formatShape(shape)} has an open batch and no size.`)
  return size
}

type ShapeRule<O extends Op> = (inputs: readonly Shape[], attributes: Primitives[O]) => Shape

function same([x]: readonly Shape[]): Shape {
  return x!
}

function broadcast([a, b]: readonly Shape[]): Shape {
  expect(a!.length === b!.length, 'equal ranks')
  return a!.map((dim, axis): Dim => {
    const other = b![axis]!
    expect(dim === other || dim === 1 || other === 1, `axis ${axis} equal or 1`)
    return dim === 1 ? other : dim
  })
}

/** Raised inside a rule and completed by shapeOf with the operation and the shapes it was given. */
class ShapeMismatch extends Error {}

function expect(condition: boolean, expectation: string): asserts condition {
  if (!condition) throw new ShapeMismatch(expectation)
}

function fixed(dim: Dim | undefined, what: string): number {
  expect(typeof dim === 'number', `a fixed ${what}`)
  return dim
}

function withAxis(shape: Shape, axis: number, dim: Dim): Shape {
  expect(axis >= 0 && axis < shape.length, `an axis below ${shape.length}, found ${axis}`)
  return shape.map((old, i) => (i === axis ? dim : old))
}

function perGroup([x]: readonly Shape[], { groups }: Primitives['groupNorm']): Shape {
  expect(x!.length === 4, 'rank 4')
  expect(fixed(x![1], 'number of channels') % groups === 0, `channels in ${groups} equal groups`)
  return [x![0]!, groups]
}

const rules: { [O in Op]: ShapeRule<O> } = {
  add: broadcast,
  sub: broadcast,
  mul: broadcast,
  div: broadcast,
  exp: same,
  log: same,
  sqrt: same,
  sigmoid: same,
  silu: same,
  clamp: same,
  within: same,
  stopGradient: same,

  reshape([x], { shape }) {
    const [from, to] = [extent(x!), extent(shape)]
    expect(from.size === to.size && from.batched === to.batched, `as many elements as ${formatShape(shape)}`)
    return shape
  },
  transpose([x], { permutation }) {
    const sorted = [...permutation].sort((a, b) => a - b)
    expect(sorted.length === x!.length && sorted.every((axis, i) => axis === i), `a permutation of the axes`)
    return permutation.map((axis) => x![axis]!)
  },
  broadcastTo([x], { shape }) {
    expect(x!.length === shape.length, `the rank of ${formatShape(shape)}`)
    expect(
      x!.every((dim, axis) => dim === 1 || dim === shape[axis]),
      `axes of size 1 or as in ${formatShape(shape)}`,
    )
    return shape
  },
  reduceSum: ([x], { axes }) => {
    expect(
      axes.every((axis) => axis >= 0 && axis < x!.length),
      `axes below ${x!.length}, found ${axes.join(', ')}`,
    )
    return x!.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
  },
  concat(inputs, { axis }) {
    const first = inputs[0]!
    let total = 0
    for (const shape of inputs) {
      expect(
        sameShape(withAxis(shape, axis, 0), withAxis(first, axis, 0)),
        `equal shapes but for axis ${axis}`,
      )
      total += fixed(shape[axis], `axis ${axis}`)
    }
    return withAxis(first, axis, total)
  },
  slice([x], { axis, start, end }) {
    expect(
      0 <= start && start < end && end <= fixed(x![axis], `axis ${axis}`),
      `${start} to ${end} inside axis ${axis}`,
    )
    return withAxis(x!, axis, end - start)
  },
  pad: ([x], { axis, before, after }) => withAxis(x!, axis, fixed(x![axis], `axis ${axis}`) + before + after),

  matmul([a, b], { transposeA, transposeB }) {
    const rank = a!.length
    expect(rank >= 2 && rank === b!.length, 'equal ranks of at least 2')
    expect(sameShape(a!.slice(0, -2), b!.slice(0, -2)), 'equal leading axes')
    const [rows, inner] = transposeA ? [a![rank - 1]!, a![rank - 2]!] : [a![rank - 2]!, a![rank - 1]!]
    const [innerB, columns] = transposeB ? [b![rank - 1]!, b![rank - 2]!] : [b![rank - 2]!, b![rank - 1]!]
    expect(inner === innerB, `inner axes that agree, found ${inner} and ${innerB}`)
    return [...a!.slice(0, -2), rows, columns]
  },
  softmax: same,
  gather([table, index]) {
    expect(index!.length === 1, 'an index of rank 1')
    return [index![0]!, ...table!.slice(1)]
  },
  oneHot([index], { depth }) {
    expect(index!.length === 1, 'an index of rank 1')
    return [index![0]!, depth]
  },

  conv2d([x, weight, bias], { stride, padding: [top, left, bottom, right] }) {
    expect(x!.length === 4 && weight!.length === 4, 'x and weight of rank 4')
    expect(x![1] === weight![1], `${weight![1]} input channels, as the weight has`)
    expect(bias === undefined || sameShape(bias, [weight![0]!]), `a bias [${weight![0]}]`)
    const kernel = fixed(weight![2], 'kernel')
    const height = Math.floor((fixed(x![2], 'height') + top + bottom - kernel) / stride) + 1
    const width = Math.floor((fixed(x![3], 'width') + left + right - kernel) / stride) + 1
    expect(height > 0 && width > 0, 'a picture at least as large as the kernel')
    return [x![0]!, weight![0]!, height, width]
  },
  conv2dInputGrad([dy, weight], { stride, padding, inputShape }) {
    const forward = rules.conv2d([inputShape, weight!], { stride, padding })
    expect(sameShape(forward, dy!), `dy ${formatShape(forward)} for the input ${formatShape(inputShape)}`)
    return inputShape
  },
  conv2dWeightGrad([x, dy], { stride, padding, kernel }) {
    const shape = [dy![1]!, x![1]!, kernel, kernel]
    const forward = rules.conv2d([x!, shape], { stride, padding })
    expect(sameShape(forward, dy!), `dy ${formatShape(forward)}`)
    return shape
  },
  upsample2x([x]) {
    expect(x!.length === 4, 'rank 4')
    return [x![0]!, x![1]!, fixed(x![2], 'height') * 2, fixed(x![3], 'width') * 2]
  },
  sumPool2x([x]) {
    const [height, width] = [fixed(x![2], 'height'), fixed(x![3], 'width')]
    expect(height % 2 === 0 && width % 2 === 0, 'even height and width')
    return [x![0]!, x![1]!, height / 2, width / 2]
  },

  groupNorm([x, scale, shift], attributes) {
    perGroup([x!], attributes)
    expect(sameShape(scale!, [x![1]!]) && sameShape(shift!, [x![1]!]), `scale and shift [${x![1]}]`)
    return x!
  },
  groupMean: perGroup,
  groupInvStd: perGroup,
  pixelDot([a, b]) {
    expect(a!.length === 4 && sameShape(a!, b!), 'equal shapes of rank 4')
    return [a![0]!, a![1]!, 1, 1]
  },
  channelAffine([x, scale, shift]) {
    const perChannel = [x![0]!, x![1]!, 1, 1]
    expect(x!.length === 4, 'x of rank 4')
    expect(sameShape(scale!, perChannel), `a scale ${formatShape(perChannel)}`)
    expect(shift === undefined || sameShape(shift, perChannel), `a shift ${formatShape(perChannel)}`)
    return x!
  },
}

/**
 * The shape of an operation's result.
 * @throws Error naming the operation, the shapes found and what was expected
 */
export function shapeOf<O extends Op>(op: O, inputs: readonly Shape[], attributes: Primitives[O]): Shape {
  try {
    return (rules[op] as ShapeRule<O>)(inputs, attributes)
  } catch (error) {
    if (!(error instanceof ShapeMismatch)) throw error
    throw new Error(`${op}: found ${inputs.map(formatShape).join(' and ')}; expected ${error.message}.`)
  }
}
