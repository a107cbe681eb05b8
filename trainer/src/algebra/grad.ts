import type { Graph, Node, OpNode } from './graph.ts'
import type { Op, Ops, Primitives, Shape } from './ops.ts'

interface Application<T, O extends Op> {
  readonly ops: Ops<T>
  /** ∂loss/∂output */
  readonly dy: T
  readonly inputs: readonly T[]
  readonly output: T
  readonly attributes: Primitives[O]
}

/** ∂loss/∂input for each input, as expressions of the same algebra; null where there is none. */
type Vjp<T, O extends Op> = (application: Application<T, O>) => readonly (T | null)[]

/** The adjoint of broadcasting: sums over the axes that were repeated. */
function unbroadcast<T>(ops: Ops<T>, dy: T, to: Shape): T {
  const from = ops.shape(dy)
  const axes = from.flatMap((dim, axis) => (dim !== to[axis] ? [axis] : []))
  if (axes.length === 0) return dy
  // The batch goes last, so that sums over pixels are shared between a bias and what is added per picture.
  const pixels = axes.filter((axis) => axis !== 0)
  const inner = pixels.length > 0 ? ops.reduceSum(dy, pixels) : dy
  return axes.includes(0) ? ops.reduceSum(inner, [0]) : inner
}

function one<T>(ops: Ops<T>, like: T): T {
  return ops.scalarLike(like, 1)
}

/** How x [N, C, H, W] falls into groups of channels. */
function grouping<T>(ops: Ops<T>, x: T, { groups }: Primitives['groupNorm']) {
  const [n, channels, height, width] = ops.shape(x) as [Shape[0], number, number, number]
  const perGroup: Shape = [n, groups, channels / groups]
  const perChannel: Shape = [n, channels, 1, 1]
  return {
    n,
    channels,
    groups,
    /** Elements of a group. */
    size: (channels / groups) * height * width,
    perGroup,
    perChannel,
    /** [N, groups, 1] → [N, C, 1, 1] */
    spread: (value: T) => ops.reshape(ops.broadcastTo(value, perGroup), perChannel),
  }
}

/** Vector-Jacobian products of every primitive; y is the output. */
const vjps: { [O in Op]: <T>(application: Application<T, O>) => readonly (T | null)[] } = {
  add: ({ ops, dy, inputs: [a, b] }) => [
    unbroadcast(ops, dy, ops.shape(a!)),
    unbroadcast(ops, dy, ops.shape(b!)),
  ],
  sub: ({ ops, dy, inputs: [a, b] }) => [
    unbroadcast(ops, dy, ops.shape(a!)),
    ops.scale(unbroadcast(ops, dy, ops.shape(b!)), -1),
  ],
  mul: ({ ops, dy, inputs: [a, b] }) => [
    unbroadcast(ops, ops.mul(dy, b!), ops.shape(a!)),
    unbroadcast(ops, ops.mul(dy, a!), ops.shape(b!)),
  ],
  // d(a/b) = da/b − (y/b) db
  div({ ops, dy, inputs: [a, b], output }) {
    const share = ops.div(dy, b!)
    return [
      unbroadcast(ops, share, ops.shape(a!)),
      unbroadcast(ops, ops.scale(ops.mul(share, output), -1), ops.shape(b!)),
    ]
  },
  exp: ({ ops, dy, output }) => [ops.mul(dy, output)],
  log: ({ ops, dy, inputs: [x] }) => [ops.div(dy, x!)],
  // d√x = dx/(2√x)
  sqrt: ({ ops, dy, output }) => [ops.div(ops.scale(dy, 0.5), output)],
  // dσ = σ(1 − σ) dx
  sigmoid: ({ ops, dy, output }) => [ops.mul(dy, ops.mul(output, ops.sub(one(ops, output), output)))],
  // d(xσ) = (σ + xσ(1 − σ)) dx = (σ + y − yσ) dx
  silu({ ops, dy, inputs: [x], output }) {
    const s = ops.sigmoid(x!)
    return [ops.mul(dy, ops.add(s, ops.sub(output, ops.mul(output, s))))]
  },
  clamp: ({ ops, dy, inputs: [x], attributes }) => [ops.mul(dy, ops.within(x!, attributes))],
  within: () => [null],
  stopGradient: () => [null],

  reshape: ({ ops, dy, inputs: [x] }) => [ops.reshape(dy, ops.shape(x!))],
  transpose: ({ ops, dy, attributes: { permutation } }) => [
    ops.transpose(
      dy,
      permutation.map((_, axis) => permutation.indexOf(axis)),
    ),
  ],
  broadcastTo: ({ ops, dy, inputs: [x] }) => [unbroadcast(ops, dy, ops.shape(x!))],
  reduceSum: ({ ops, dy, inputs: [x] }) => [ops.broadcastTo(dy, ops.shape(x!))],
  concat({ ops, dy, inputs, attributes: { axis } }) {
    let start = 0
    return inputs.map((input) => {
      const end = start + (ops.shape(input)[axis] as number)
      const part = ops.slice(dy, { axis, start, end })
      start = end
      return part
    })
  },
  slice: ({ ops, dy, inputs: [x], attributes: { axis, start, end } }) => [
    ops.pad(dy, { axis, before: start, after: (ops.shape(x!)[axis] as number) - end }),
  ],
  pad: ({ ops, dy, inputs: [x], attributes: { axis, before } }) => [
    ops.slice(dy, { axis, start: before, end: before + (ops.shape(x!)[axis] as number) }),
  ],

  // Y = A·B: dA = dY·Bᵀ, dB = Aᵀ·dY; a transposed factor has its gradient transposed.
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
  // dx = y·(dy − Σ dy·y)
  softmax({ ops, dy, output }) {
    const last = ops.shape(output).length - 1
    return [ops.mul(output, ops.sub(dy, ops.reduceSum(ops.mul(dy, output), [last])))]
  },
  // Rows are added up where they were taken from: one-hot transposed times dy.
  gather({ ops, dy, inputs: [table, index] }) {
    const [rows, ...row] = ops.shape(table!) as number[]
    const size = row.reduce((a, b) => a * b, 1)
    const chosen = ops.oneHot(index!, { depth: rows! })
    const flat = ops.reshape(dy, [ops.shape(dy)[0]!, size])
    return [ops.reshape(ops.matmul(chosen, flat, { transposeA: true }), ops.shape(table!)), null]
  },
  oneHot: () => [null],

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
  // The two adjoints are linear in both arguments; their own adjoints are the convolution and each other.
  conv2dInputGrad: ({ ops, dy, inputs: [g, weight], attributes: { stride, padding } }) => [
    ops.conv2d(dy, weight!, null, { stride, padding }),
    ops.conv2dWeightGrad(dy, g!, { stride, padding, kernel: ops.shape(weight!)[2] as number }),
  ],
  conv2dWeightGrad: ({ ops, dy, inputs: [x, g], attributes: { stride, padding } }) => [
    ops.conv2dInputGrad(g!, dy, { stride, padding, inputShape: ops.shape(x!) }),
    ops.conv2d(x!, dy, null, { stride, padding }),
  ],
  upsample2x: ({ ops, dy }) => [ops.sumPool2x(dy)],
  sumPool2x: ({ ops, dy }) => [ops.upsample2x(dy)],

  // With x̂ = r·(x − μ), r = 1/σ of a group and M its size: dx = r·(γ·dy − mean(γ·dy) − x̂·mean(γ·dy·x̂)), the means
  // over the group. They come from Σ dy and Σ dy·x̂ of each channel, which are the gradients of shift and scale, so that
  // dx = r·γ·dy − r²·mean(γ·dy·x̂)·x + what is the same at every pixel.
  groupNorm({ ops, dy, inputs: [x, scale], attributes }) {
    const { n, channels, groups, size, perChannel, perGroup, spread } = grouping(ops, x!, attributes)
    const gamma = ops.reshape(scale!, [1, groups, channels / groups])
    const mean = ops.reshape(ops.groupMean(x!, attributes), [n, groups, 1])
    const invStd = ops.reshape(ops.groupInvStd(x!, attributes), [n, groups, 1])
    const sumDy = ops.reshape(ops.reduceSum(dy, [2, 3]), perGroup)
    const sumDyX = ops.reshape(ops.pixelDot(dy, x!), perGroup)
    const sumDyNormalized = ops.mul(ops.sub(sumDyX, ops.mul(sumDy, mean)), invStd)

    const overGroup = (sum: typeof x) => ops.scale(ops.reduceSum(ops.mul(sum!, gamma), [2]), 1 / size)
    const slope = ops.mul(overGroup(sumDyNormalized), ops.mul(invStd, invStd))
    const offset = ops.sub(ops.mul(slope, mean), ops.mul(overGroup(sumDy), invStd))
    const dx = ops.add(
      ops.channelAffine(dy, ops.reshape(ops.mul(invStd, gamma), perChannel), null),
      ops.channelAffine(x!, spread(ops.scale(slope, -1)), spread(offset)),
    )
    const overBatch = (sum: typeof x) => ops.reshape(ops.reduceSum(sum!, [0]), [channels])
    return [dx, overBatch(sumDyNormalized), overBatch(sumDy)]
  },
  groupMean({ ops, dy, inputs: [x], attributes }) {
    const { n, groups, size, spread } = grouping(ops, x!, attributes)
    const share = spread(ops.reshape(ops.scale(dy, 1 / size), [n, groups, 1]))
    return [ops.broadcastTo(share, ops.shape(x!))]
  },
  // d(1/σ) = −(1/σ)³·(x − μ)/M dx
  groupInvStd({ ops, dy, inputs: [x], output, attributes }) {
    const { n, groups, size, spread } = grouping(ops, x!, attributes)
    const cube = ops.mul(output, ops.mul(output, output))
    const slope = ops.reshape(ops.scale(ops.mul(dy, cube), -1 / size), [n, groups, 1])
    const mean = ops.reshape(ops.groupMean(x!, attributes), [n, groups, 1])
    return [ops.channelAffine(x!, spread(slope), spread(ops.scale(ops.mul(slope, mean), -1)))]
  },
  // [N, C, 1, 1] is dy: the same at every pixel.
  pixelDot: ({ ops, dy, inputs: [a, b] }) => [
    ops.channelAffine(b!, dy, null),
    ops.channelAffine(a!, dy, null),
  ],
  channelAffine: ({ ops, dy, inputs: [x, scale, shift] }) => [
    ops.channelAffine(dy, scale!, null),
    ops.pixelDot(dy, x!),
    ...(shift === undefined ? [] : [ops.reduceSum(dy, [2, 3])]),
  ],
}

/**
 * Reverse-mode differentiation: one walk from the loss back to its inputs.
 * @param loss a node with one element
 * @param parameters nodes to differentiate by
 * @returns ∂loss/∂parameter for each, new nodes of the same graph
 * @throws Error where the loss does not depend on a parameter
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
  const contributions = new Map<Node, Node[]>([[loss, [seed]]])
  for (const node of graph.nodes.slice(0, loss.id + 1).reverse()) {
    const parts = contributions.get(node)
    if (!parts || node.kind !== 'op' || !relevant.has(node)) continue
    for (const [i, part] of vjpOf(ops, node, total(ops, parts)).entries()) {
      const input = node.inputs[i]!
      if (part && relevant.has(input)) contributions.set(input, [...(contributions.get(input) ?? []), part])
    }
  }
  return parameters.map((parameter, i) => {
    const parts = contributions.get(parameter)
    if (!parts) throw new Error(`The loss does not depend on parameter ${i} (node ${parameter.id}).`)
    return total(ops, parts)
  })
}

/** The sum of what the readers of a value contribute: slices that cut it up give theirs back side by side. */
function total(ops: Ops<Node>, parts: readonly Node[]): Node {
  const pads = parts
    .filter((part): part is OpNode<'pad'> => part.kind === 'op' && part.op === 'pad')
    .sort((a, b) => a.attributes.before - b.attributes.before)
  const axis = pads[0]?.attributes.axis
  let end = 0
  const sideBySide = pads.every(({ inputs: [x], attributes }) => {
    const fits = attributes.axis === axis && attributes.before === end
    end += x!.shape[attributes.axis] as number
    return fits
  })
  if (parts.length > 1 && pads.length === parts.length && sideBySide && pads.at(-1)!.attributes.after === 0) {
    const whole = pads.map(({ inputs: [x] }) => x!)
    return ops.concat(whole, axis!)
  }
  return parts.reduce((sum, part) => ops.add(sum, part))
}

function vjpOf<O extends Op>(ops: Ops<Node>, node: OpNode<O>, dy: Node): readonly (Node | null)[] {
  const rule = vjps[node.op] as Vjp<Node, O>
  return rule({ ops, dy, inputs: node.inputs, output: node, attributes: node.attributes })
}
