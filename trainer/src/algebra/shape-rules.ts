import type { Dim, Op, Primitives, Shape } from './ops.ts'

/**
 * Computes the shape of an operation's result.
 * @throws Error that names the operation, the expected shapes and the shapes of the inputs
 */
export function inferShape<O extends Op>(op: O, inputs: readonly Shape[], attributes: Primitives[O]): Shape {
  try {
    return (rules[op] as ShapeRule<O>)(inputs, attributes)
  } catch (error) {
    if (!(error instanceof ShapeMismatch)) throw error
    const shapes = inputs.map(formatShape).join(' and ')
    throw new Error(`Invalid shapes for ${op}: expected ${error.message}, got ${shapes}.`)
  }
}

/** Returns whether two shapes are equal on every axis; 'N' equals only 'N'. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis])
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`
}

/** Returns the number of elements as size · N^batchAxes. */
function countElements(shape: Shape): { size: number; batchAxes: number } {
  let size = 1
  let batchAxes = 0
  for (const dim of shape) {
    if (dim === 'N') batchAxes += 1
    else size *= dim
  }
  return { size, batchAxes }
}

/**
 * Returns the number of elements of a shape.
 * @throws Error for a shape with a symbolic batch
 */
export function sizeOf(shape: Shape): number {
  const { size, batchAxes } = countElements(shape)
  if (batchAxes > 0)
    throw new Error(`Invalid shape ${formatShape(shape)}: expected a known batch size, got N.`)
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
    expect(dim === other || dim === 1 || other === 1, `sizes on axis ${axis} that are equal or 1`)
    return dim === 1 ? other : dim
  })
}

/** Error that a shape rule throws. `inferShape` adds the name of the operation and the shapes of its inputs. */
class ShapeMismatch extends Error {}

function expect(condition: boolean, expectation: string): asserts condition {
  if (!condition) throw new ShapeMismatch(expectation)
}

/** Returns a dimension that must be a number; throws ShapeMismatch for the symbolic batch 'N'. */
function known(dim: Dim | undefined, name: string): number {
  expect(typeof dim === 'number', `a known ${name}`)
  return dim
}

function withAxis(shape: Shape, axis: number, dim: Dim): Shape {
  expect(axis >= 0 && axis < shape.length, `more than ${axis} axes`)
  return shape.map((old, i) => (i === axis ? dim : old))
}

/** [N, C, H, W] → [N, groups] */
function groupStatisticShape([x]: readonly Shape[], { groups }: Primitives['groupNorm']): Shape {
  expect(x!.length === 4, 'rank 4')
  expect(
    known(x![1], 'number of channels') % groups === 0,
    `a number of channels divisible by ${groups} (groups)`,
  )
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
    const [from, to] = [countElements(x!), countElements(shape)]
    expect(
      from.size === to.size && from.batchAxes === to.batchAxes,
      `as many elements as ${formatShape(shape)}`,
    )
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
      `axes of size 1 or of the size in ${formatShape(shape)}`,
    )
    return shape
  },
  reduceSum: ([x], { axes }) => {
    expect(
      axes.every((axis) => axis >= 0 && axis < x!.length),
      `a tensor with the axes ${axes.join(', ')}`,
    )
    return x!.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
  },
  concat(inputs, { axis }) {
    const first = inputs[0]!
    let total = 0
    for (const shape of inputs) {
      expect(
        sameShape(withAxis(shape, axis, 0), withAxis(first, axis, 0)),
        `equal shapes except on axis ${axis}`,
      )
      total += known(shape[axis], `axis ${axis}`)
    }
    return withAxis(first, axis, total)
  },
  slice([x], { axis, start, end }) {
    expect(
      0 <= start && start < end && end <= known(x![axis], `axis ${axis}`),
      `0 ≤ start < end ≤ size of axis ${axis} (start ${start}, end ${end})`,
    )
    return withAxis(x!, axis, end - start)
  },
  pad: ([x], { axis, before, after }) => withAxis(x!, axis, known(x![axis], `axis ${axis}`) + before + after),

  matmul([a, b], { transposeA, transposeB }) {
    const rank = a!.length
    expect(rank >= 2 && rank === b!.length, 'equal ranks of at least 2')
    expect(sameShape(a!.slice(0, -2), b!.slice(0, -2)), 'equal leading axes')
    const [rows, inner] = transposeA ? [a![rank - 1]!, a![rank - 2]!] : [a![rank - 2]!, a![rank - 1]!]
    const [innerB, columns] = transposeB ? [b![rank - 1]!, b![rank - 2]!] : [b![rank - 2]!, b![rank - 1]!]
    expect(inner === innerB, `equal inner axes (they are ${inner} and ${innerB})`)
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
    expect(x![1] === weight![1], `${weight![1]} input channels (axis 1 of the weight)`)
    expect(bias === undefined || sameShape(bias, [weight![0]!]), `a bias of shape [${weight![0]}]`)
    const kernel = known(weight![2], 'kernel')
    const height = Math.floor((known(x![2], 'height') + top + bottom - kernel) / stride) + 1
    const width = Math.floor((known(x![3], 'width') + left + right - kernel) / stride) + 1
    expect(height > 0 && width > 0, 'a padded input at least as large as the kernel')
    return [x![0]!, weight![0]!, height, width]
  },
  conv2dInputGrad([dy, weight], { stride, padding, inputShape }) {
    const forward = rules.conv2d([inputShape, weight!], { stride, padding })
    expect(
      sameShape(forward, dy!),
      `dy of shape ${formatShape(forward)} for the input shape ${formatShape(inputShape)}`,
    )
    return inputShape
  },
  conv2dWeightGrad([x, dy], { stride, padding, kernel }) {
    const shape = [dy![1]!, x![1]!, kernel, kernel]
    const forward = rules.conv2d([x!, shape], { stride, padding })
    expect(sameShape(forward, dy!), `dy of shape ${formatShape(forward)}`)
    return shape
  },
  upsample2x([x]) {
    expect(x!.length === 4, 'rank 4')
    return [x![0]!, x![1]!, known(x![2], 'height') * 2, known(x![3], 'width') * 2]
  },
  sumPool2x([x]) {
    const [height, width] = [known(x![2], 'height'), known(x![3], 'width')]
    expect(height % 2 === 0 && width % 2 === 0, 'even height and width')
    return [x![0]!, x![1]!, height / 2, width / 2]
  },

  groupNorm([x, scale, shift], attributes) {
    groupStatisticShape([x!], attributes)
    expect(sameShape(scale!, [x![1]!]) && sameShape(shift!, [x![1]!]), `scale and shift of shape [${x![1]}]`)
    return x!
  },
  groupMean: groupStatisticShape,
  groupInvStd: groupStatisticShape,
  pixelDot([a, b]) {
    expect(a!.length === 4 && sameShape(a!, b!), 'equal shapes of rank 4')
    return [a![0]!, a![1]!, 1, 1]
  },
  channelAffine([x, scale, shift]) {
    const perChannel = [x![0]!, x![1]!, 1, 1]
    expect(x!.length === 4, 'x of rank 4')
    expect(sameShape(scale!, perChannel), `a scale of shape ${formatShape(perChannel)}`)
    expect(shift === undefined || sameShape(shift, perChannel), `a shift of shape ${formatShape(perChannel)}`)
    return x!
  },
}
