import { domains, fillNormals } from '@ddpm/shared'
import type { Convolution, Op, Primitives } from '../../trainer/src/algebra/ops.ts'
import { sizeOf } from '../../trainer/src/algebra/shape-rules.ts'
import { type Tensor, tensor } from './float64.ts'

/** A test case of a primitive: the shapes of its inputs, and its attributes. */
export interface Case<O extends Op> {
  readonly shapes: readonly (readonly number[])[]
  readonly attributes: Primitives[O]
  /** Values of integer inputs, by position. They are not differentiated. */
  readonly fixed?: Readonly<Record<number, readonly number[]>>
  /** Maps random inputs into the domain of the operation. */
  readonly domain?: (value: number) => number
  /** Set if the operation is piecewise constant, or if its gradient is zero by definition. */
  readonly flat?: true
}

type Options<O extends Op> = Pick<Case<O>, 'fixed' | 'domain' | 'flat'>

/** Creates a case. Shapes are written as text: createCase('2,3 1,3', {}) has the shapes [2, 3] and [1, 3]. */
function createCase<A>(shapes: string, attributes: A, options: Options<Op> = {}) {
  return { shapes: shapes.split(' ').map((shape) => shape.split(',').map(Number)), attributes, ...options }
}

const positive = (value: number) => Math.abs(value) + 0.5
const same: Convolution = { stride: 1, padding: [1, 1, 1, 1] }
const half: Convolution = { stride: 2, padding: [1, 1, 1, 1] }
const uneven: Convolution = { stride: 2, padding: [0, 0, 1, 1] }
const pointwise: Convolution = { stride: 1, padding: [0, 0, 0, 0] }
const norm = { groups: 2, eps: 1e-5 }

/** At least one case per primitive, for the tests of interpreters, compilers and derivatives. */
export const cases: { readonly [O in Op]: readonly Case<O>[] } = {
  add: [
    createCase('2,3 2,3', {}),
    createCase('2,3,2,2 1,3,1,1', {}),
    createCase('2,3,2,2 2,3,1,1', {}),
    createCase('1,3 2,1', {}),
  ],
  sub: [createCase('2,3 1,3', {})],
  mul: [createCase('2,3 2,3', {}), createCase('2,3,2,2 2,3,1,1', {})],
  div: [createCase('2,3 2,1', {}, { domain: positive })],
  exp: [createCase('5', {})],
  log: [createCase('5', {}, { domain: positive })],
  sqrt: [createCase('5', {}, { domain: positive })],
  sigmoid: [createCase('5', {})],
  silu: [createCase('5', {})],
  clamp: [createCase('12', { min: -0.5, max: 0.7 })],
  within: [createCase('12', { min: -0.5, max: 0.7 }, { flat: true })],
  stopGradient: [createCase('5', {}, { flat: true })],
  reshape: [createCase('2,6', { shape: [3, 4] })],
  transpose: [createCase('2,3,4', { permutation: [2, 0, 1] })],
  broadcastTo: [createCase('2,1,3', { shape: [2, 4, 3] })],
  reduceSum: [createCase('2,3,4', { axes: [0, 2] })],
  concat: [createCase('2,3 2,1 2,2', { axis: 1 })],
  slice: [createCase('3,5', { axis: 1, start: 1, end: 4 })],
  pad: [createCase('3,2', { axis: 1, before: 2, after: 1 })],
  matmul: [
    createCase('2,3,4 2,4,5', { transposeA: false, transposeB: false }),
    createCase('2,4,3 2,4,5', { transposeA: true, transposeB: false }),
    createCase('3,4 5,4', { transposeA: false, transposeB: true }),
    createCase('4,3 5,4', { transposeA: true, transposeB: true }),
  ],
  softmax: [createCase('2,3,4', {})],
  gather: [createCase('4,3 3', {}, { fixed: { 1: [2, 0, 2] } })],
  oneHot: [createCase('3', { depth: 4 }, { flat: true, fixed: { 0: [2, 0, 3] } })],
  conv2d: [
    createCase('2,3,4,5 2,3,3,3 2', same),
    createCase('2,2,6,4 3,2,3,3 3', half),
    createCase('1,2,4,6 3,2,3,3 3', uneven),
    createCase('2,3,2,2 4,3,1,1', pointwise),
  ],
  conv2dInputGrad: [
    createCase('2,2,4,5 2,3,3,3', { ...same, inputShape: [2, 3, 4, 5] }),
    createCase('2,3,3,2 3,2,3,3', { ...half, inputShape: [2, 2, 6, 4] }),
    createCase('2,3,3,3 3,2,3,3', { ...half, inputShape: [2, 2, 5, 5] }),
    createCase('2,3,3,2 3,2,3,3', { ...uneven, inputShape: [2, 2, 6, 4] }),
    createCase('2,4,2,2 4,3,1,1', { ...pointwise, inputShape: [2, 3, 2, 2] }),
  ],
  conv2dWeightGrad: [
    createCase('2,3,4,5 2,2,4,5', { ...same, kernel: 3 }),
    createCase('2,2,6,4 2,3,3,2', { ...half, kernel: 3 }),
    createCase('2,2,5,5 2,3,3,3', { ...half, kernel: 3 }),
    createCase('2,2,6,4 2,3,3,2', { ...uneven, kernel: 3 }),
    createCase('2,3,2,2 2,4,2,2', { ...pointwise, kernel: 1 }),
  ],
  upsample2x: [createCase('1,2,2,3', {})],
  sumPool2x: [createCase('1,2,4,2', {})],
  groupNorm: [createCase('2,4,2,3 4 4', norm)],
  groupMean: [createCase('2,4,2,3', norm)],
  groupInvStd: [createCase('2,4,2,3', norm)],
  pixelDot: [createCase('2,3,2,4 2,3,2,4', {})],
  channelAffine: [createCase('2,3,2,4 2,3,1,1 2,3,1,1', {}), createCase('2,3,2,4 2,3,1,1', {})],
}

/** Returns a tensor of standard normal numbers. */
export function randomTensor(seed: number, shape: readonly number[]): Tensor {
  const values = new Float32Array(sizeOf(shape))
  fillNormals(seed, { domain: domains.initialization, image: 0, step: 0 }, values)
  return tensor(shape, values)
}

/** Returns values for the inputs of a case. */
export function createInputs<O extends Op>({
  shapes,
  fixed = {},
  domain = (value) => value,
}: Case<O>): Tensor[] {
  return shapes.map((shape, i) => tensor(shape, fixed[i] ?? randomTensor(i + 1, shape).data.map(domain)))
}
