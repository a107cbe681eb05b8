/** Size of one axis. 'N' is the symbolic batch size of exported graphs. */
export type Dim = number | 'N'

/** Shape of a tensor. */
export type Shape = readonly Dim[]

/** Padding in pixels: top, left, bottom, right. */
export type Padding = readonly [number, number, number, number]

export interface Convolution {
  readonly stride: number
  readonly padding: Padding
}

type None = Record<never, never>

/**
 * The primitives of the algebra and their attributes. The engines compute them in float32. The set is closed under
 * differentiation: grad.ts expresses the derivative of every primitive in primitives.
 *
 * Elementwise operations on two tensors require equal ranks; axes of size 1 are broadcast.
 */
export interface Primitives {
  add: None
  sub: None
  mul: None
  div: None
  exp: None
  log: None
  sqrt: None
  sigmoid: None
  /** x·σ(x) */
  silu: None
  clamp: { readonly min: number; readonly max: number }
  /** 1 where min ≤ x ≤ max, else 0: the derivative of clamp. */
  within: { readonly min: number; readonly max: number }
  /** The identity, with derivative 0. */
  stopGradient: None

  reshape: { readonly shape: Shape }
  transpose: { readonly permutation: readonly number[] }
  /** Repeats axes of size 1 until they have the size in `shape`. */
  broadcastTo: { readonly shape: Shape }
  /** Sums over axes. The summed axes remain, with size 1. */
  reduceSum: { readonly axes: readonly number[] }
  concat: { readonly axis: number }
  slice: { readonly axis: number; readonly start: number; readonly end: number }
  /** Adds `before` and `after` zeros along one axis. */
  pad: { readonly axis: number; readonly before: number; readonly after: number }

  /** Matrix product over the last two axes, batched over the leading axes, which must be equal. */
  matmul: { readonly transposeA: boolean; readonly transposeB: boolean }
  /** Softmax over the last axis. */
  softmax: None
  /** Looks up rows of a table [R, …] by an index [N] (integers stored as floats): [N, …]. */
  gather: None
  /** One-hot encoding of an index [N]: [N, depth]. */
  oneHot: { readonly depth: number }

  /** x [N, I, H, W], weight [O, I, K, K], optional bias [O]. */
  conv2d: Convolution
  /** Adjoint of conv2d with respect to x: dy, weight → dx of shape inputShape. */
  conv2dInputGrad: Convolution & { readonly inputShape: Shape }
  /** Adjoint of conv2d with respect to the weight: x, dy → dw. */
  conv2dWeightGrad: Convolution & { readonly kernel: number }
  /** Nearest-neighbour upsampling: [N, C, H, W] → [N, C, 2H, 2W]. */
  upsample2x: None
  /** Sums of 2×2 cells, the adjoint of upsample2x: [N, C, H, W] → [N, C, H/2, W/2]. */
  sumPool2x: None

  /** Normalizes each group of channels to mean 0 and variance 1, then scales and shifts: x [N, C, H, W], scale [C], shift [C]. */
  groupNorm: { readonly groups: number; readonly eps: number }
  /** Mean of each group: [N, groups]. */
  groupMean: { readonly groups: number; readonly eps: number }
  /** 1/√(variance + eps) of each group: [N, groups]. */
  groupInvStd: { readonly groups: number; readonly eps: number }
  /** Σ a·b over the pixels of each channel: two [N, C, H, W] → [N, C, 1, 1]. */
  pixelDot: None
  /** x·scale + shift: x [N, C, H, W]; scale and optional shift [N, C, 1, 1]. */
  channelAffine: None
}

export type Op = keyof Primitives

/** A table with one rule per primitive. A missing rule is a type error. */
export type RuleTable<Rule extends { [O in Op]: unknown }> = { [O in Op]: Rule[O] }

/** Implementation of the primitives for tensors of type T: float64 arrays, graph nodes or tfjs tensors. */
export interface Interpreter<T> {
  apply<O extends Op>(op: O, inputs: readonly T[], attributes: Primitives[O]): T
  shape(x: T): Shape
  /** Creates a constant from its elements in row-major order. */
  constant(values: ArrayLike<number>, shape: readonly number[]): T
}

/**
 * The primitives as functions. Their arguments are the tensors, followed by one object of attributes. The network and the
 * losses are written with these functions.
 */
export interface Ops<T> extends Interpreter<T> {
  add(a: T, b: T): T
  sub(a: T, b: T): T
  mul(a: T, b: T): T
  div(a: T, b: T): T
  exp(x: T): T
  log(x: T): T
  sqrt(x: T): T
  sigmoid(x: T): T
  silu(x: T): T
  clamp(x: T, attributes: Primitives['clamp']): T
  within(x: T, attributes: Primitives['within']): T
  stopGradient(x: T): T
  reshape(x: T, shape: Shape): T
  transpose(x: T, permutation: readonly number[]): T
  broadcastTo(x: T, shape: Shape): T
  reduceSum(x: T, axes: readonly number[]): T
  concat(parts: readonly T[], axis: number): T
  slice(x: T, attributes: Primitives['slice']): T
  pad(x: T, attributes: Primitives['pad']): T
  matmul(a: T, b: T, attributes?: Partial<Primitives['matmul']>): T
  softmax(x: T): T
  gather(table: T, index: T): T
  oneHot(index: T, attributes: Primitives['oneHot']): T
  conv2d(x: T, weight: T, bias: T | null, attributes: Convolution): T
  conv2dInputGrad(dy: T, weight: T, attributes: Primitives['conv2dInputGrad']): T
  conv2dWeightGrad(x: T, dy: T, attributes: Primitives['conv2dWeightGrad']): T
  upsample2x(x: T): T
  sumPool2x(x: T): T
  groupNorm(x: T, scale: T, shift: T, attributes: Primitives['groupNorm']): T
  groupMean(x: T, attributes: Primitives['groupMean']): T
  groupInvStd(x: T, attributes: Primitives['groupInvStd']): T
  pixelDot(a: T, b: T): T
  channelAffine(x: T, scale: T, shift: T | null): T
  /** Creates a constant with the rank of x and axes of size 1, so that it broadcasts against x. */
  scalarLike(x: T, value: number): T
  /** Computes x·value. */
  scale(x: T, value: number): T
}

/** Creates the algebra's functions from an interpreter. */
export function createOps<T>(interpreter: Interpreter<T>): Ops<T> {
  const { apply, shape, constant } = interpreter
  const scalarLike = (x: T, value: number) =>
    constant(
      [value],
      shape(x).map(() => 1),
    )
  return {
    apply,
    shape,
    constant,
    add: (a, b) => apply('add', [a, b], {}),
    sub: (a, b) => apply('sub', [a, b], {}),
    mul: (a, b) => apply('mul', [a, b], {}),
    div: (a, b) => apply('div', [a, b], {}),
    exp: (x) => apply('exp', [x], {}),
    log: (x) => apply('log', [x], {}),
    sqrt: (x) => apply('sqrt', [x], {}),
    sigmoid: (x) => apply('sigmoid', [x], {}),
    silu: (x) => apply('silu', [x], {}),
    clamp: (x, attributes) => apply('clamp', [x], attributes),
    within: (x, attributes) => apply('within', [x], attributes),
    stopGradient: (x) => apply('stopGradient', [x], {}),
    reshape: (x, newShape) => apply('reshape', [x], { shape: newShape }),
    transpose: (x, permutation) => apply('transpose', [x], { permutation }),
    broadcastTo: (x, newShape) => apply('broadcastTo', [x], { shape: newShape }),
    reduceSum: (x, axes) => apply('reduceSum', [x], { axes }),
    concat: (parts, axis) => apply('concat', parts, { axis }),
    slice: (x, attributes) => apply('slice', [x], attributes),
    pad: (x, attributes) => apply('pad', [x], attributes),
    matmul: (a, b, { transposeA = false, transposeB = false } = {}) =>
      apply('matmul', [a, b], { transposeA, transposeB }),
    softmax: (x) => apply('softmax', [x], {}),
    gather: (table, index) => apply('gather', [table, index], {}),
    oneHot: (index, attributes) => apply('oneHot', [index], attributes),
    conv2d: (x, weight, bias, attributes) =>
      apply('conv2d', bias === null ? [x, weight] : [x, weight, bias], attributes),
    conv2dInputGrad: (dy, weight, attributes) => apply('conv2dInputGrad', [dy, weight], attributes),
    conv2dWeightGrad: (x, dy, attributes) => apply('conv2dWeightGrad', [x, dy], attributes),
    upsample2x: (x) => apply('upsample2x', [x], {}),
    sumPool2x: (x) => apply('sumPool2x', [x], {}),
    groupNorm: (x, scale, shift, attributes) => apply('groupNorm', [x, scale, shift], attributes),
    groupMean: (x, attributes) => apply('groupMean', [x], attributes),
    groupInvStd: (x, attributes) => apply('groupInvStd', [x], attributes),
    pixelDot: (a, b) => apply('pixelDot', [a, b], {}),
    channelAffine: (x, scale, shift) =>
      apply('channelAffine', shift === null ? [x, scale] : [x, scale, shift], {}),
    scalarLike,
    scale: (x, value) => apply('mul', [x, scalarLike(x, value)], {}),
  }
}
