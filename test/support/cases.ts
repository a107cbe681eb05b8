import { domains, normals } from '@ddpm/shared'
import type { Convolution, Op, Primitives } from '../../trainer/src/algebra/ops.ts'
import { sizeOf } from '../../trainer/src/algebra/shape-rules.ts'
import { type Tensor, tensor } from './float64.ts'

/** A primitive applied to inputs of given shapes. */
export interface Case<O extends Op> {
  readonly shapes: readonly (readonly number[])[]
  readonly attributes: Primitives[O]
  /** Inputs that are whole numbers, by position: they are not differentiated. */
  readonly fixed?: Readonly<Record<number, readonly number[]>>
  /** Moves random inputs to where the operation is defined. */
  readonly domain?: (value: number) => number
  /** The operation is constant almost everywhere or has no gradient by definition. */
  readonly flat?: true
}

type Options<O extends Op> = Pick<Case<O>, 'fixed' | 'domain' | 'flat'>

/** A case, its shapes written as text: of('2,3 1,3', {}) is [2, 3] and [1, 3]. */
function of<A>(shapes: string, attributes: A, options: Options<Op> = {}) {
  return { shapes: shapes.split(' ').map((shape) => shape.split(',').map(Number)), attributes, ...options }
}

const positive = (value: number) => Math.abs(value) + 0.5
const same: Convolution = { stride: 1, padding: [1, 1, 1, 1] }
const half: Convolution = { stride: 2, padding: [1, 1, 1, 1] }
const uneven: Convolution = { stride: 2, padding: [0, 0, 1, 1] }
const pointwise: Convolution = { stride: 1, padding: [0, 0, 0, 0] }
const norm = { groups: 2, eps: 1e-5 }

/** At least one case for every primitive: what every interpreter and every derivative is tried on. */
export const cases: { readonly [O in Op]: readonly Case<O>[] } = {
  add: [of('2,3 2,3', {}), of('2,3,2,2 1,3,1,1', {}), of('2,3,2,2 2,3,1,1', {}), of('1,3 2,1', {})],
  sub: [of('2,3 1,3', {})],
  mul: [of('2,3 2,3', {}), of('2,3,2,2 2,3,1,1', {})],
  div: [of('2,3 2,1', {}, { domain: positive })],
  exp: [of('5', {})],
  log: [of('5', {}, { domain: positive })],
  sqrt: [of('5', {}, { domain: positive })],
  sigmoid: [of('5', {})],
  silu: [of('5', {})],
  clamp: [of('12', { min: -0.5, max: 0.7 })],
  within: [of('12', { min: -0.5, max: 0.7 }, { flat: true })],
  stopGradient: [of('5', {}, { flat: true })],
  reshape: [of('2,6', { shape: [3, 4] })],
  transpose: [of('2,3,4', { permutation: [2, 0, 1] })],
  broadcastTo: [of('2,1,3', { shape: [2, 4, 3] })],
  reduceSum: [of('2,3,4', { axes: [0, 2] })],
  concat: [of('2,3 2,1 2,2', { axis: 1 })],
  slice: [of('3,5', { axis: 1, start: 1, end: 4 })],
  pad: [of('3,2', { axis: 1, before: 2, after: 1 })],
  matmul: [
    of('2,3,4 2,4,5', { transposeA: false, transposeB: false }),
    of('2,4,3 2,4,5', { transposeA: true, transposeB: false }),
    of('3,4 5,4', { transposeA: false, transposeB: true }),
    of('4,3 5,4', { transposeA: true, transposeB: true }),
  ],
  softmax: [of('2,3,4', {})],
  gather: [of('4,3 3', {}, { fixed: { 1: [2, 0, 2] } })],
  oneHot: [of('3', { depth: 4 }, { flat: true, fixed: { 0: [2, 0, 3] } })],
  conv2d: [
    of('2,3,4,5 2,3,3,3 2', same),
    of('2,2,6,4 3,2,3,3 3', half),
    of('1,2,4,6 3,2,3,3 3', uneven),
    of('2,3,2,2 4,3,1,1', pointwise),
  ],
  conv2dInputGrad: [
    of('2,2,4,5 2,3,3,3', { ...same, inputShape: [2, 3, 4, 5] }),
    of('2,3,3,2 3,2,3,3', { ...half, inputShape: [2, 2, 6, 4] }),
    of('2,3,3,3 3,2,3,3', { ...half, inputShape: [2, 2, 5, 5] }),
    of('2,3,3,2 3,2,3,3', { ...uneven, inputShape: [2, 2, 6, 4] }),
    of('2,4,2,2 4,3,1,1', { ...pointwise, inputShape: [2, 3, 2, 2] }),
  ],
  conv2dWeightGrad: [
    of('2,3,4,5 2,2,4,5', { ...same, kernel: 3 }),
    of('2,2,6,4 2,3,3,2', { ...half, kernel: 3 }),
    of('2,2,5,5 2,3,3,3', { ...half, kernel: 3 }),
    of('2,2,6,4 2,3,3,2', { ...uneven, kernel: 3 }),
    of('2,3,2,2 2,4,2,2', { ...pointwise, kernel: 1 }),
  ],
  upsample2x: [of('1,2,2,3', {})],
  sumPool2x: [of('1,2,4,2', {})],
  groupNorm: [of('2,4,2,3 4 4', norm)],
  groupMean: [of('2,4,2,3', norm)],
  groupInvStd: [of('2,4,2,3', norm)],
  pixelDot: [of('2,3,2,4 2,3,2,4', {})],
  channelAffine: [of('2,3,2,4 2,3,1,1 2,3,1,1', {}), of('2,3,2,4 2,3,1,1', {})],
}

/** Standard normal numbers. */
export function random(seed: number, shape: readonly number[]): Tensor {
  const values = new Float32Array(sizeOf(shape))
  normals(seed, { domain: domains.initialization, image: 0, step: 0 }, values)
  return tensor(shape, values)
}

/** Values for the inputs of a case. */
export function inputsOf<O extends Op>({ shapes, fixed = {}, domain = (value) => value }: Case<O>): Tensor[] {
  return shapes.map((shape, i) => tensor(shape, fixed[i] ?? random(i + 1, shape).data.map(domain)))
}
