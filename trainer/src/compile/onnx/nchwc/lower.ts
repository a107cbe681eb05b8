/**
 * Lowering to onnxruntime's private blocked layout, the operator domain `com.microsoft.nchwc`.
 *
 * - Layout: an image [N, C, H, W] is stored as [N, C/B, H, W, B]. The block width B is the width of the processor's vector
 *   registers in floats: 16 for AVX-512, 8 for AVX, 4 for NEON. Kernels of convolutions are reordered accordingly
 *   (blockKernel).
 * - Why it is used: blocked convolutions run at about the peak speed of the processor. Plain convolutions run at two thirds
 *   of it.
 * - Why it is private: onnxruntime's graph optimizer inserts these operators itself. They are neither documented nor
 *   versioned, and a release may change them without notice. Models that contain them are never exported.
 * - Why it is risky: onnxruntime checks shapes only in terms of [N, C, H, W]. A wrong block width or a wrong order of the
 *   kernel gives wrong numbers without an error.
 * - How it is probed: engines/block-width.ts runs every rule of this folder at each block width and compares the results
 *   with those of the standard operators. If no width gives the same results, the blocked layout is not used.
 * - How it is tested: canary.test.ts fails if the layout has not been verified with the installed version of
 *   onnxruntime-node, or if the blocked Conv differs from the standard Conv. lower.test.ts compares the rules with a float64
 *   reference.
 *
 * No file outside of this folder refers to the domain or to the order of elements in memory. createBlockedLowering is the only
 * export for the compiler. Plain operators read a blocked tensor through `nameOf`, which emits the conversion.
 */
import type { Node, OpNode } from '../../../algebra/graph.ts'
import type { Op } from '../../../algebra/ops.ts'
import { sameShape } from '../../../algebra/shape-rules.ts'
import { reshape } from '../emit/composites.ts'
import { elementwise, type Lowering } from '../emit/elementwise.ts'
import type { GraphBuilder } from '../emit/emitter.ts'
import { blockedConvolution, blockedInputGrad, blockedWeightGrad, convolve } from './convolution.ts'
import { type BlockedEmitter, blockedNameOf, fits, isBlocked, nchwcDomain, toPlain } from './layout.ts'
import {
  affine,
  blockedChannelAffine,
  blockedGroupNorm,
  blockedPixelDot,
  groupStatistics,
  isPerChannel,
  pixelSum,
} from './norm.ts'
import { upsampledConvolution, upsampledInputGrad, upsampledWeightGrad } from './upsample.ts'

/**
 * Creates the lowering to blocked layout for one graph.
 * @param blockWidth number of channels per block
 * @returns a function that lowers a node and defines its tensor, or returns false if a plain rule must lower it
 */
export function createBlockedLowering(builder: GraphBuilder, blockWidth: number): (node: OpNode) => boolean {
  const blockedNames = new Map<Node, string>()
  const emitter: BlockedEmitter = { ...builder, blockWidth, blockedNames }
  return (node) => {
    const rule = rules[node.op] as BlockedRule<Op> | undefined
    const result = rule?.(emitter, node) ?? null
    if (result === null) return false
    const { name, layout } = result
    if (layout === 'blocked') blockedNames.set(node, name)
    builder.define(node, () => (layout === 'blocked' ? toPlain(builder, name, node.shape) : name))
    return true
  }
}

/** The result of a rule: the name of a tensor and its layout. */
interface BlockedResult {
  readonly name: string
  readonly layout: 'plain' | 'blocked'
}

/** Emits one primitive on blocked tensors. Returns null if its inputs are not blocked or no blocked operator supports it. */
type BlockedRule<O extends Op> = (emitter: BlockedEmitter, node: OpNode<O>) => BlockedResult | null

function asBlocked(name: string | null): BlockedResult | null {
  return name === null ? null : { name, layout: 'blocked' }
}

function asPlain(name: string | null): BlockedResult | null {
  return name === null ? null : { name, layout: 'plain' }
}

const rules: { readonly [O in Op]?: BlockedRule<O> } = {
  add(emitter, node) {
    const [x, channels] = splitPerChannel(emitter, node) ?? []
    if (x && channels) {
      const size = (x.shape[0] as number) * (x.shape[1] as number)
      const ones = emitter.once(`ones ${size}`, () => emitter.float(new Float32Array(size).fill(1), [size]))
      const inputs = [blockedNameOf(emitter, x), ones, emitter.nameOf(channels)] as const
      return asBlocked(affine(emitter, inputs, x.shape))
    }
    if (!node.inputs.every((input) => sameShape(input.shape, node.shape))) return binary(emitter, node)
    if (!node.inputs.some((input) => isBlocked(emitter, input))) return null
    return asBlocked(
      sum(
        emitter,
        node.inputs.flatMap((input) => flattenSum(emitter, input)),
      ),
    )
  },
  sub: binary,
  mul(emitter, node) {
    const [x, channels] = splitPerChannel(emitter, node) ?? []
    if (!x || !channels) return binary(emitter, node)
    return asBlocked(affine(emitter, [blockedNameOf(emitter, x), emitter.nameOf(channels), ''], x.shape))
  },
  div: binary,
  exp: unary,
  log: unary,
  sqrt: unary,
  sigmoid(emitter, node) {
    // The derivative of silu(groupNorm(x)) needs sigmoid(groupNorm(x)) in the backward pass. Norm and sigmoid are computed
    // from x in one pass, so that the result of groupNorm need not stay in memory.
    const [x] = node.inputs
    const fused =
      x!.kind === 'op' && x!.op === 'groupNorm'
        ? blockedGroupNorm(emitter, x as OpNode<'groupNorm'>, 'Sigmoid')
        : null
    return fused === null ? unary(emitter, node) : asBlocked(fused)
  },
  silu: unary,
  clamp: unary,
  within: unary,
  stopGradient: unary,

  concat(emitter, { inputs, attributes: { axis } }) {
    const fitting = inputs.every(({ shape }) => shape.length === 4 && fits(emitter.blockWidth, shape[1]!))
    if (axis !== 1 || !fitting || !inputs.some((input) => isBlocked(emitter, input))) return null
    return asBlocked(
      emitter.emit(
        'Concat',
        inputs.map((input) => blockedNameOf(emitter, input)),
        { axis },
      ),
    )
  },
  slice(emitter, { inputs: [x], attributes: { axis, start, end } }) {
    const { emit, int64, blockWidth } = emitter
    if (axis !== 1 || !isBlocked(emitter, x!) || !fits(blockWidth, start, end)) return null
    return asBlocked(emit('Slice', [blockedNameOf(emitter, x!), int64([start]), int64([end]), int64([axis])]))
  },
  reduceSum(emitter, { inputs: [x], attributes: { axes } }) {
    if (!isBlocked(emitter, x!) || `${axes}` !== '2,3') return null
    return asPlain(pixelSum(emitter, blockedNameOf(emitter, x!), x!.shape))
  },

  conv2d: (emitter, node) =>
    asBlocked(upsampledConvolution(emitter, node) ?? blockedConvolution(emitter, node, null)),
  conv2dInputGrad: (emitter, node) => asBlocked(blockedInputGrad(emitter, node, null)),
  conv2dWeightGrad: (emitter, node) =>
    asPlain(upsampledWeightGrad(emitter, node) ?? blockedWeightGrad(emitter, node)),
  upsample2x(emitter, { inputs: [x] }) {
    if (!isBlocked(emitter, x!)) return null
    const attributes = { scales: [1, 1, 2, 2], mode: 'nearest' }
    return asBlocked(
      emitter.emit('Upsample', [blockedNameOf(emitter, x!)], attributes, { domain: nchwcDomain }),
    )
  },
  sumPool2x(emitter, node) {
    const [x] = node.inputs
    if (!isBlocked(emitter, x!)) return null
    const inputGrad = upsampledInputGrad(emitter, node)
    if (inputGrad !== null) return asBlocked(inputGrad)
    const channels = x!.shape[1] as number
    const ones = emitter.once(`ones ${channels} 2×2`, () =>
      emitter.float(new Float32Array(4 * channels).fill(1), [channels, 1, 2, 2]),
    )
    const options = { kernel: [2, 2], stride: 2, groups: channels } as const
    return asBlocked(convolve(emitter, [blockedNameOf(emitter, x!), ones], options))
  },

  groupNorm: (emitter, node) => asBlocked(blockedGroupNorm(emitter, node)),
  groupMean: (emitter, { inputs: [x], attributes, shape }) => {
    const statistics = groupStatistics(emitter, x!, attributes)
    return asPlain(statistics && reshape(emitter, statistics.mean, shape))
  },
  groupInvStd: (emitter, { inputs: [x], attributes, shape }) => {
    const statistics = groupStatistics(emitter, x!, attributes)
    return asPlain(statistics && reshape(emitter, statistics.invStd, shape))
  },
  pixelDot: (emitter, node) => asPlain(blockedPixelDot(emitter, node)),
  channelAffine: (emitter, node) => asBlocked(blockedChannelAffine(emitter, node, null)),
}

/** Emits an elementwise operation on tensors whose elements have the same order in memory. */
function applyElementwise(emitter: BlockedEmitter, names: readonly string[], node: OpNode): BlockedResult {
  const rule = elementwise[node.op as keyof typeof elementwise] as Lowering<Op>
  return { name: rule(emitter, names, node), layout: 'blocked' }
}

function unary(emitter: BlockedEmitter, node: OpNode): BlockedResult | null {
  const [x] = node.inputs
  return isBlocked(emitter, x!) ? applyElementwise(emitter, [blockedNameOf(emitter, x!)], node) : null
}

/** Lowers an elementwise operation on two tensors of equal shapes, or on a tensor and a scalar. */
function binary(emitter: BlockedEmitter, node: OpNode): BlockedResult | null {
  if (!node.inputs.some((input) => isBlocked(emitter, input))) return null
  const names: string[] = []
  for (const input of node.inputs) {
    if (sameShape(input.shape, node.shape)) names.push(blockedNameOf(emitter, input))
    else if (input.shape.every((dim) => dim === 1)) names.push(emitter.nameOf(input))
    else return null
  }
  return applyElementwise(emitter, names, node)
}

/** Returns the operands as [blocked tensor [N, C, H, W], tensor [N, C, 1, 1]], or null if they are not of this kind. */
function splitPerChannel(emitter: BlockedEmitter, { inputs: [a, b] }: OpNode): readonly [Node, Node] | null {
  if (isBlocked(emitter, a!) && isPerChannel(b!, a!.shape)) return [a!, b!]
  return isBlocked(emitter, b!) && isPerChannel(a!, b!.shape) ? [b!, a!] : null
}

/** Returns the terms of a nested sum. A sum that has other readers is one term. */
function flattenSum(emitter: BlockedEmitter, node: Node): Node[] {
  const isNested =
    node.kind === 'op' &&
    node.op === 'add' &&
    emitter.readersOf(node).length === 1 &&
    node.inputs.every(({ shape }) => sameShape(shape, node.shape))
  return isNested ? node.inputs.flatMap((input) => flattenSum(emitter, input)) : [node]
}

/** Rules for terms that can be added to a sum in the same pass. */
const accumulating: {
  readonly [O in Op]?: (emitter: BlockedEmitter, node: OpNode<O>, sum: string) => string | null
} = {
  conv2d: blockedConvolution,
  conv2dInputGrad: blockedInputGrad,
  channelAffine: blockedChannelAffine,
}

/**
 * Emits a sum of blocked tensors. Each term that is a convolution without other readers adds its result to the sum directly,
 * which saves one pass over memory.
 */
function sum(emitter: BlockedEmitter, terms: readonly Node[]): string {
  const accumulated = terms.filter(
    (term): term is OpNode =>
      term.kind === 'op' &&
      term.op in accumulating &&
      emitter.readersOf(term).length === 1 &&
      isBlocked(emitter, term),
  )
  const [first, ...others] = terms.filter((term) => !accumulated.includes(term as OpNode))
  const base = first ?? accumulated.shift()!
  const added = others.reduce(
    (total, term) => emitter.emit('Add', [total, blockedNameOf(emitter, term)]),
    blockedNameOf(emitter, base),
  )
  return accumulated.reduce((total, term) => {
    const rule = accumulating[term.op] as (emitter: BlockedEmitter, node: OpNode, sum: string) => string
    return rule(emitter, term, total)
  }, added)
}
