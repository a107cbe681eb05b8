import type { Node, OpNode } from '../../../algebra/graph.ts'
import type { Op } from '../../../algebra/ops.ts'
import { sameShape } from '../../../algebra/shape-rules.ts'
import { reshape } from '../emit/composites.ts'
import { elementwise, type Lowering } from '../emit/elementwise.ts'
import { type Emitter, nchwc, type Value } from '../emit/emitter.ts'
import { blockedConvolution, blockedInputGrad, blockedWeightGrad, convolve } from './convolution.ts'
import { blocked, fits, isBlocked, recorded } from './layout.ts'
import {
  affine,
  blockedChannelAffine,
  blockedGroupNorm,
  blockedPixelDot,
  isPerChannel,
  pixelSum,
  statistics,
} from './norm.ts'
import { upsampledConvolution, upsampledInputGrad, upsampledWeightGrad } from './upsample.ts'

/** How one primitive is computed on pictures in blocks; null leaves it to the plain operators. */
type BlockedRule<O extends Op> = (emitter: Emitter, node: OpNode<O>) => Value | null

const inBlocks = (name: string | null): Value | null => (name === null ? null : { name, layout: 'blocked' })
const asRecorded = (name: string | null): Value | null =>
  name === null ? null : { name, layout: 'recorded' }

/** An elementwise operation on values that lie alike. */
function alike(emitter: Emitter, names: readonly string[], node: OpNode): Value {
  const rule = elementwise[node.op as keyof typeof elementwise] as Lowering<Op>
  return { name: rule(emitter, names, node), layout: 'blocked' }
}

function unary(emitter: Emitter, node: OpNode): Value | null {
  const [x] = node.inputs
  return isBlocked(emitter, x!) ? alike(emitter, [blocked(emitter, x!)], node) : null
}

/** Of two pictures, or a picture and a number. */
function binary(emitter: Emitter, node: OpNode): Value | null {
  if (!node.inputs.some((input) => isBlocked(emitter, input))) return null
  const names: string[] = []
  for (const input of node.inputs) {
    if (sameShape(input.shape, node.shape)) names.push(blocked(emitter, input))
    else if (input.shape.every((dim) => dim === 1)) names.push(recorded(emitter, input))
    else return null
  }
  return alike(emitter, names, node)
}

/** A picture in blocks and one value for each of its channels, or null. */
function withChannels(emitter: Emitter, { inputs: [a, b] }: OpNode): readonly [Node, Node] | null {
  if (isBlocked(emitter, a!) && isPerChannel(b!, a!.shape)) return [a!, b!]
  return isBlocked(emitter, b!) && isPerChannel(a!, b!.shape) ? [b!, a!] : null
}

/** The terms of a sum of pictures: sums that nothing else reads are taken apart. */
function termsOf(emitter: Emitter, node: Node): Node[] {
  const isSum =
    node.kind === 'op' &&
    node.op === 'add' &&
    emitter.readersOf(node).length === 1 &&
    node.inputs.every(({ shape }) => sameShape(shape, node.shape))
  return isSum ? node.inputs.flatMap((input) => termsOf(emitter, input)) : [node]
}

/** What computes a picture by convolution, and can put it on top of a sum in the same pass. */
const onTop: { readonly [O in Op]?: (emitter: Emitter, node: OpNode<O>, sum: string) => string | null } = {
  conv2d: blockedConvolution,
  conv2dInputGrad: blockedInputGrad,
  channelAffine: blockedChannelAffine,
}

/** A sum of pictures: convolutions that nothing else reads take no pass of their own to be added. */
function sumOf(emitter: Emitter, terms: readonly Node[]): string {
  const convolutions = terms.filter(
    (term): term is OpNode =>
      term.kind === 'op' &&
      term.op in onTop &&
      emitter.readersOf(term).length === 1 &&
      isBlocked(emitter, term),
  )
  const [first, ...others] = terms.filter((term) => !convolutions.includes(term as OpNode))
  const base = first ?? convolutions.shift()!
  const sum = others.reduce(
    (sum, term) => emitter.emit('Add', [sum, blocked(emitter, term)]),
    blocked(emitter, base),
  )
  return convolutions.reduce((sum, term) => {
    const rule = onTop[term.op] as (emitter: Emitter, node: OpNode, sum: string) => string
    return rule(emitter, term, sum)
  }, sum)
}

const rules: { readonly [O in Op]?: BlockedRule<O> } = {
  add(emitter, node) {
    const [x, channels] = withChannels(emitter, node) ?? []
    if (x && channels) {
      const size = (x.shape[0] as number) * (x.shape[1] as number)
      const ones = emitter.once(`ones ${size}`, () => emitter.float(new Float32Array(size).fill(1), [size]))
      const inputs = [blocked(emitter, x), ones, recorded(emitter, channels)] as const
      return inBlocks(affine(emitter, inputs, x.shape))
    }
    if (!node.inputs.every((input) => sameShape(input.shape, node.shape))) return binary(emitter, node)
    if (!node.inputs.some((input) => isBlocked(emitter, input))) return null
    return inBlocks(
      sumOf(
        emitter,
        node.inputs.flatMap((input) => termsOf(emitter, input)),
      ),
    )
  },
  sub: binary,
  mul(emitter, node) {
    const [x, channels] = withChannels(emitter, node) ?? []
    if (!x || !channels) return binary(emitter, node)
    return inBlocks(affine(emitter, [blocked(emitter, x), recorded(emitter, channels), ''], x.shape))
  },
  div: binary,
  exp: unary,
  log: unary,
  sqrt: unary,
  sigmoid(emitter, node) {
    // The derivative of silu after a norm, long after it: computed from what was normalised, not from what came of it.
    const [x] = node.inputs
    const normalized =
      x!.kind === 'op' && x!.op === 'groupNorm'
        ? blockedGroupNorm(emitter, x as OpNode<'groupNorm'>, 'Sigmoid')
        : null
    return normalized === null ? unary(emitter, node) : inBlocks(normalized)
  },
  silu: unary,
  clamp: unary,
  within: unary,
  stopGradient: unary,

  concat(emitter, { inputs, attributes: { axis } }) {
    const whole = inputs.every(({ shape }) => shape.length === 4 && fits(emitter.blockWidth, shape[1]!))
    if (axis !== 1 || !whole || !inputs.some((input) => isBlocked(emitter, input))) return null
    return inBlocks(
      emitter.emit(
        'Concat',
        inputs.map((input) => blocked(emitter, input)),
        { axis },
      ),
    )
  },
  slice(emitter, { inputs: [x], attributes: { axis, start, end } }) {
    const { emit, int64, blockWidth } = emitter
    if (axis !== 1 || !isBlocked(emitter, x!) || !fits(blockWidth, start, end)) return null
    return inBlocks(emit('Slice', [blocked(emitter, x!), int64([start]), int64([end]), int64([axis])]))
  },
  reduceSum(emitter, { inputs: [x], attributes: { axes } }) {
    if (!isBlocked(emitter, x!) || `${axes}` !== '2,3') return null
    return asRecorded(pixelSum(emitter, blocked(emitter, x!), x!.shape))
  },

  conv2d: (emitter, node) =>
    inBlocks(upsampledConvolution(emitter, node) ?? blockedConvolution(emitter, node, null)),
  conv2dInputGrad: (emitter, node) => inBlocks(blockedInputGrad(emitter, node, null)),
  conv2dWeightGrad: (emitter, node) =>
    asRecorded(upsampledWeightGrad(emitter, node) ?? blockedWeightGrad(emitter, node)),
  upsample2x(emitter, { inputs: [x] }) {
    if (!isBlocked(emitter, x!)) return null
    const attributes = { scales: [1, 1, 2, 2], mode: 'nearest' }
    return inBlocks(emitter.emit('Upsample', [blocked(emitter, x!)], attributes, { domain: nchwc }))
  },
  sumPool2x(emitter, node) {
    const [x] = node.inputs
    if (!isBlocked(emitter, x!)) return null
    const direct = upsampledInputGrad(emitter, node)
    if (direct !== null) return inBlocks(direct)
    const channels = x!.shape[1] as number
    const ones = emitter.once(`ones ${channels} 2×2`, () =>
      emitter.float(new Float32Array(4 * channels).fill(1), [channels, 1, 2, 2]),
    )
    const options = { kernel: [2, 2], stride: 2, groups: channels } as const
    return inBlocks(convolve(emitter, [blocked(emitter, x!), ones], options))
  },

  groupNorm: (emitter, node) => inBlocks(blockedGroupNorm(emitter, node)),
  groupMean: (emitter, { inputs: [x], attributes, shape }) => {
    const found = statistics(emitter, x!, attributes)
    return asRecorded(found && reshape(emitter, found.mean, shape))
  },
  groupInvStd: (emitter, { inputs: [x], attributes, shape }) => {
    const found = statistics(emitter, x!, attributes)
    return asRecorded(found && reshape(emitter, found.invStd, shape))
  },
  pixelDot: (emitter, node) => asRecorded(blockedPixelDot(emitter, node)),
  channelAffine: (emitter, node) => inBlocks(blockedChannelAffine(emitter, node, null)),
}

/** Lowers a node on pictures in blocks; null where there are none, or no rule is made for it. */
export function lowerBlocked<O extends Op>(emitter: Emitter, node: OpNode<O>): Value | null {
  if (emitter.blockWidth === null) return null
  const rule = rules[node.op] as BlockedRule<O> | undefined
  return rule?.(emitter, node) ?? null
}
