import type { Graph, Node, OpNode } from './graph.ts'
import type { Op, Ops, Primitives, Shape } from './ops.ts'

/**
 * Computes gradients by reverse-mode differentiation: one pass over the graph, from the loss to the parameters.
 * @param loss node with one element
 * @param parameters nodes with respect to which the loss is differentiated
 * @returns ∂loss/∂parameter of each parameter, as new nodes of the same graph
 * @throws Error if the loss does not depend on a parameter
 */
export function gradients(graph: Graph, loss: Node, parameters: readonly Node[]): Node[] {
  const { ops } = graph
  const relevant = new Set<Node>(parameters)
  for (const node of graph.nodes) {
    if (node.kind === 'op' && node.inputs.some((input) => relevant.has(input))) relevant.add(node)
  }

  const seed = ops.constant(
    [1],
    loss.shape.map(() => 1),
  )
  /** For each node, the terms of its gradient: one per operation that reads it. */
  const contributions = new Map<Node, Node[]>([[loss, [seed]]])
  for (const node of graph.nodes.slice(0, loss.id + 1).reverse()) {
    const parts = contributions.get(node)
    if (!parts || node.kind !== 'op' || !relevant.has(node)) continue
    for (const [i, part] of applyVjp(ops, node, sum(ops, parts)).entries()) {
      const input = node.inputs[i]!
      if (part && relevant.has(input)) contributions.set(input, [...(contributions.get(input) ?? []), part])
    }
  }
  return parameters.map((parameter, i) => {
    const parts = contributions.get(parameter)
    if (!parts) {
      throw new Error(
        `Cannot differentiate the loss: it does not depend on parameter ${i} (node ${parameter.id}).`,
      )
    }
    return sum(ops, parts)
  })
}

/**
 * Sums the terms of a gradient. If the terms come from slices that together make up the whole tensor, they are
 * concatenated instead: the sum of zero-padded slices is the same tensor, but slower.
 */
function sum(ops: Ops<Node>, parts: readonly Node[]): Node {
  const pads = parts
    .filter((part): part is OpNode<'pad'> => part.kind === 'op' && part.op === 'pad')
    .sort((a, b) => a.attributes.before - b.attributes.before)
  const axis = pads[0]?.attributes.axis
  let end = 0
  const adjacent = pads.every(({ inputs: [x], attributes }) => {
    const follows = attributes.axis === axis && attributes.before === end
    end += x!.shape[attributes.axis] as number
    return follows
  })
  if (parts.length > 1 && pads.length === parts.length && adjacent && pads.at(-1)!.attributes.after === 0) {
    const slices = pads.map(({ inputs: [x] }) => x!)
    return ops.concat(slices, axis!)
  }
  return parts.reduce((total, part) => ops.add(total, part))
}

/** Applies the vector-Jacobian product of a node's operation to the gradient `dy` of its output. */
function applyVjp<O extends Op>(ops: Ops<Node>, node: OpNode<O>, dy: Node): readonly (Node | null)[] {
  const rule = vjps[node.op] as Vjp<Node, O>
  return rule({ ops, dy, inputs: node.inputs, output: node, attributes: node.attributes })
}

/** An operation in the graph and the gradient of its output. */
interface Application<T, O extends Op> {
  readonly ops: Ops<T>
  /** ∂loss/∂output, with the output's shape. */
  readonly dy: T
  readonly inputs: readonly T[]
  readonly output: T
  readonly attributes: Primitives[O]
}

/**
 * A vector-Jacobian product: returns ∂loss/∂input for each input, with the input's shape. null means that the operation
 * has no derivative with respect to this input.
 */
type Vjp<T, O extends Op> = (application: Application<T, O>) => readonly (T | null)[]

/** Sums dy over the axes that broadcasting has repeated, so that the result has `shape`: the adjoint of broadcasting. */
function unbroadcast<T>(ops: Ops<T>, dy: T, shape: Shape): T {
  const axes = ops.shape(dy).flatMap((dim, axis) => (dim !== shape[axis] ? [axis] : []))
  if (axes.length === 0) return dy
  // The batch axis is summed last. If a bias and a term per image are added to the same tensor, their gradients then share
  // the sum over pixels, which is one node of the graph.
  const innerAxes = axes.filter((axis) => axis !== 0)
  const inner = innerAxes.length > 0 ? ops.reduceSum(dy, innerAxes) : dy
  return axes.includes(0) ? ops.reduceSum(inner, [0]) : inner
}

/** Returns the constant 1, which broadcasts against x. */
function one<T>(ops: Ops<T>, x: T): T {
  return ops.scalarLike(x, 1)
}

/** Returns sizes and shapes of the channel groups of x [N, C, H, W]. */
function channelGroups<T>(ops: Ops<T>, x: T, { groups }: Primitives['groupNorm']) {
  const [n, channels, height, width] = ops.shape(x) as [Shape[0], number, number, number]
  const perGroup: Shape = [n, groups, channels / groups]
  const perChannel: Shape = [n, channels, 1, 1]
  return {
    n,
    channels,
    groups,
    /** Number of elements of a group: (C/groups)·H·W. */
    size: (channels / groups) * height * width,
    perGroup,
    perChannel,
    /** Repeats a value per group for each of its channels: [N, groups, 1] → [N, C, 1, 1]. */
    spread: (value: T) => ops.reshape(ops.broadcastTo(value, perGroup), perChannel),
  }
}

/** The vector-Jacobian product of every primitive. In the comments y is the output, and dx stands for ∂loss/∂x. */
const vjps: { [O in Op]: <T>(application: Application<T, O>) => readonly (T | null)[] } = {
  // y = a + b: da = dy, db = dy
  add: ({ ops, dy, inputs: [a, b] }) => [
    unbroadcast(ops, dy, ops.shape(a!)),
    unbroadcast(ops, dy, ops.shape(b!)),
  ],
  // y = a − b: da = dy, db = −dy
  sub: ({ ops, dy, inputs: [a, b] }) => [
    unbroadcast(ops, dy, ops.shape(a!)),
    ops.scale(unbroadcast(ops, dy, ops.shape(b!)), -1),
  ],
  // y = a·b: da = b·dy, db = a·dy
  mul: ({ ops, dy, inputs: [a, b] }) => [
    unbroadcast(ops, ops.mul(dy, b!), ops.shape(a!)),
    unbroadcast(ops, ops.mul(dy, a!), ops.shape(b!)),
  ],
  // y = a/b: da = dy/b, db = −(dy/b)·y
  div({ ops, dy, inputs: [a, b], output }) {
    const quotient = ops.div(dy, b!)
    return [
      unbroadcast(ops, quotient, ops.shape(a!)),
      unbroadcast(ops, ops.scale(ops.mul(quotient, output), -1), ops.shape(b!)),
    ]
  },
  // y = eˣ: dx = y·dy
  exp: ({ ops, dy, output }) => [ops.mul(dy, output)],
  // y = ln x: dx = dy/x
  log: ({ ops, dy, inputs: [x] }) => [ops.div(dy, x!)],
  // y = √x: dx = dy/(2y)
  sqrt: ({ ops, dy, output }) => [ops.div(ops.scale(dy, 0.5), output)],
  // y = σ(x): dx = y(1 − y)·dy
  sigmoid: ({ ops, dy, output }) => [ops.mul(dy, ops.mul(output, ops.sub(one(ops, output), output)))],
  // y = x·σ(x): dx = (σ + xσ(1 − σ))·dy = (σ + y − yσ)·dy
  silu({ ops, dy, inputs: [x], output }) {
    const sigma = ops.sigmoid(x!)
    return [ops.mul(dy, ops.add(sigma, ops.sub(output, ops.mul(output, sigma))))]
  },
  // y = min(max(x, min), max): dx = dy where min ≤ x ≤ max, else 0
  clamp: ({ ops, dy, inputs: [x], attributes }) => [ops.mul(dy, ops.within(x!, attributes))],
  // Piecewise constant: the derivative is 0.
  within: () => [null],
  // The derivative is 0 by definition.
  stopGradient: () => [null],

  // The adjoint of a reshape is the reshape to the input's shape. The adjoint of a permutation is its inverse.
  reshape: ({ ops, dy, inputs: [x] }) => [ops.reshape(dy, ops.shape(x!))],
  transpose: ({ ops, dy, attributes: { permutation } }) => [
    ops.transpose(
      dy,
      permutation.map((_, axis) => permutation.indexOf(axis)),
    ),
  ],
  // Repeating and summing are adjoint to each other.
  broadcastTo: ({ ops, dy, inputs: [x] }) => [unbroadcast(ops, dy, ops.shape(x!))],
  reduceSum: ({ ops, dy, inputs: [x] }) => [ops.broadcastTo(dy, ops.shape(x!))],
  // Each part of a concatenation receives its slice of dy.
  concat({ ops, dy, inputs, attributes: { axis } }) {
    let start = 0
    return inputs.map((input) => {
      const end = start + (ops.shape(input)[axis] as number)
      const part = ops.slice(dy, { axis, start, end })
      start = end
      return part
    })
  },
  // Slicing and padding with zeros are adjoint to each other.
  slice: ({ ops, dy, inputs: [x], attributes: { axis, start, end } }) => [
    ops.pad(dy, { axis, before: start, after: (ops.shape(x!)[axis] as number) - end }),
  ],
  pad: ({ ops, dy, inputs: [x], attributes: { axis, before } }) => [
    ops.slice(dy, { axis, start: before, end: before + (ops.shape(x!)[axis] as number) }),
  ],

  // Y = A·B: dA = dY·Bᵀ, dB = Aᵀ·dY. The gradient of a transposed factor is also transposed.
  matmul({ ops, dy, inputs: [a, b], attributes: { transposeA, transposeB } }) {
    return [
      transposeA
        ? ops.matmul(b!, dy, { transposeA: transposeB, transposeB: true })
        : ops.matmul(dy, b!, { transposeB: !transposeB }),
      transposeB
        ? ops.matmul(dy, a!, { transposeA: true, transposeB: transposeA })
        : ops.matmul(a!, dy, { transposeA: !transposeA }),
    ]
  },
  // y = softmax(x): dx = y·(dy − Σ dy·y), the sum over the last axis
  softmax({ ops, dy, output }) {
    const last = ops.shape(output).length - 1
    return [ops.mul(output, ops.sub(dy, ops.reduceSum(ops.mul(dy, output), [last])))]
  },
  // y = onehot(index)·table: dtable = onehot(index)ᵀ·dy
  gather({ ops, dy, inputs: [table, index] }) {
    const [rows, ...row] = ops.shape(table!) as number[]
    const size = row.reduce((a, b) => a * b, 1)
    const selected = ops.oneHot(index!, { depth: rows! })
    const flat = ops.reshape(dy, [ops.shape(dy)[0]!, size])
    return [ops.reshape(ops.matmul(selected, flat, { transposeA: true }), ops.shape(table!)), null]
  },
  // An index has no derivative.
  oneHot: () => [null],

  // y = w ∗ x + b: dx and dw are the adjoints with respect to x and w; db = Σ dy over batch and pixels
  conv2d({ ops, dy, inputs: [x, weight, bias], attributes }) {
    const kernel = ops.shape(weight!)[2] as number
    return [
      ops.conv2dInputGrad(dy, weight!, { ...attributes, inputShape: ops.shape(x!) }),
      ops.conv2dWeightGrad(x!, dy, { ...attributes, kernel }),
      ...(bias === undefined
        ? []
        : [ops.reshape(ops.reduceSum(ops.reduceSum(dy, [2, 3]), [0]), ops.shape(bias))]),
    ]
  },
  // Both adjoints of the convolution are linear in each argument. The adjoints of each of them are the convolution and the
  // other one.
  conv2dInputGrad: ({ ops, dy, inputs: [g, weight], attributes: { stride, padding } }) => [
    ops.conv2d(dy, weight!, null, { stride, padding }),
    ops.conv2dWeightGrad(dy, g!, { stride, padding, kernel: ops.shape(weight!)[2] as number }),
  ],
  conv2dWeightGrad: ({ ops, dy, inputs: [x, g], attributes: { stride, padding } }) => [
    ops.conv2dInputGrad(g!, dy, { stride, padding, inputShape: ops.shape(x!) }),
    ops.conv2d(x!, dy, null, { stride, padding }),
  ],
  // Repeating a pixel four times and summing 2×2 cells are adjoint to each other.
  upsample2x: ({ ops, dy }) => [ops.sumPool2x(dy)],
  sumPool2x: ({ ops, dy }) => [ops.upsample2x(dy)],

  // y = γ·x̂ + β with x̂ = r·(x − μ), where μ is the mean of a group, r = 1/σ and M the group's size.
  // dγ = Σ dy·x̂ and dβ = Σ dy, the sums over batch and pixels.
  // dx = r·(γ·dy − mean(γ·dy) − x̂·mean(γ·dy·x̂)), the means over the group. Both means follow from the sums Σ dy and
  // Σ dy·x̂ of each channel, which dβ and dγ also need. Therefore, with slope = r²·mean(γ·dy·x̂):
  // dx = r·γ·dy − slope·x + (slope·μ − r·mean(γ·dy)): two affine functions per channel.
  groupNorm({ ops, dy, inputs: [x, scale], attributes }) {
    const { n, channels, groups, size, perChannel, perGroup, spread } = channelGroups(ops, x!, attributes)
    const gamma = ops.reshape(scale!, [1, groups, channels / groups])
    const mean = ops.reshape(ops.groupMean(x!, attributes), [n, groups, 1])
    const invStd = ops.reshape(ops.groupInvStd(x!, attributes), [n, groups, 1])
    const sumDy = ops.reshape(ops.reduceSum(dy, [2, 3]), perGroup)
    const sumDyX = ops.reshape(ops.pixelDot(dy, x!), perGroup)
    const sumDyNormalized = ops.mul(ops.sub(sumDyX, ops.mul(sumDy, mean)), invStd)

    /** Mean over the group of γ times the summed quantity: [N, groups, C/groups] → [N, groups, 1]. */
    const groupMean = (sum: typeof x) => ops.scale(ops.reduceSum(ops.mul(sum!, gamma), [2]), 1 / size)
    const slope = ops.mul(groupMean(sumDyNormalized), ops.mul(invStd, invStd))
    const offset = ops.sub(ops.mul(slope, mean), ops.mul(groupMean(sumDy), invStd))
    const dx = ops.add(
      ops.channelAffine(dy, ops.reshape(ops.mul(invStd, gamma), perChannel), null),
      ops.channelAffine(x!, spread(ops.scale(slope, -1)), spread(offset)),
    )
    /** [N, groups, C/groups] → [C] */
    const batchSum = (sum: typeof x) => ops.reshape(ops.reduceSum(sum!, [0]), [channels])
    return [dx, batchSum(sumDyNormalized), batchSum(sumDy)]
  },
  // y = μ of each group: dx = dy/M
  groupMean({ ops, dy, inputs: [x], attributes }) {
    const { n, groups, size, spread } = channelGroups(ops, x!, attributes)
    const perPixel = spread(ops.reshape(ops.scale(dy, 1 / size), [n, groups, 1]))
    return [ops.broadcastTo(perPixel, ops.shape(x!))]
  },
  // y = 1/σ of each group: dx = −y³·(x − μ)/M·dy
  groupInvStd({ ops, dy, inputs: [x], output, attributes }) {
    const { n, groups, size, spread } = channelGroups(ops, x!, attributes)
    const cube = ops.mul(output, ops.mul(output, output))
    const slope = ops.reshape(ops.scale(ops.mul(dy, cube), -1 / size), [n, groups, 1])
    const mean = ops.reshape(ops.groupMean(x!, attributes), [n, groups, 1])
    return [ops.channelAffine(x!, spread(slope), spread(ops.scale(ops.mul(slope, mean), -1)))]
  },
  // y = Σ a·b over the pixels: da = b·dy, db = a·dy, where dy [N, C, 1, 1] is the same at every pixel
  pixelDot: ({ ops, dy, inputs: [a, b] }) => [
    ops.channelAffine(b!, dy, null),
    ops.channelAffine(a!, dy, null),
  ],
  // y = x·scale + shift: dx = scale·dy, dscale = Σ dy·x, dshift = Σ dy, the sums over the pixels
  channelAffine: ({ ops, dy, inputs: [x, scale, shift] }) => [
    ops.channelAffine(dy, scale!, null),
    ops.pixelDot(dy, x!),
    ...(shift === undefined ? [] : [ops.reduceSum(dy, [2, 3])]),
  ],
}
