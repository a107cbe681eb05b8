/** Size of one axis; 'N' is the batch, left open in exported graphs. */
export type Dim = number | 'N'
export type Shape = readonly Dim[]

/** Padding in pixels: top, left, bottom, right. */
export type Padding = readonly [number, number, number, number]

export interface Convolution {
  readonly stride: number
  readonly padding: Padding
}

type None = Record<never, never>

/**
 * The primitives of the algebra and their attributes. All tensors are float32 on the engines. Together with the rules
 * in grad.ts the table is closed: the derivative of a primitive is written in primitives.
 *
 * Elementwise operations of two tensors take equal ranks; an axis of size 1 is broadcast.
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
  /** Repeats axes of size 1. */
  broadcastTo: { readonly shape: Shape }
  /** Sums over axes, which stay with size 1. */
  reduceSum: { readonly axes: readonly number[] }
  concat: { readonly axis: number }
  slice: { readonly axis: number; readonly start: number; readonly end: number }
  /** Zeros before and after along one axis. */
  pad: { readonly axis: number; readonly before: number; readonly after: number }

  /** Products of the last two axes, batched over the equal leading ones. */
  matmul: { readonly transposeA: boolean; readonly transposeB: boolean }
  /** Over the last axis. */
  softmax: None
  /** Rows of a table [R, …] by an index [N] (whole numbers as floats): [N, …]. */
  gather: None
  /** An index [N] as rows of the identity: [N, depth]. */
  oneHot: { readonly depth: number }

  /** x [N, I, H, W], weight [O, I, K, K], optional bias [O]. */
  conv2d: Convolution
  /** dy, weight → dx of the given shape: the adjoint of conv2d in x. */
  conv2dInputGrad: Convolution & { readonly inputShape: Shape }
  /** x, dy → dw: the adjoint of conv2d in the weight. */
  conv2dWeightGrad: Convolution & { readonly kernel: number }
  /** Nearest neighbour, [N, C, H, W] → [N, C, 2H, 2W]. */
  upsample2x: None
  /** Sums of 2×2 cells: the adjoint of upsample2x. */
  sumPool2x: None

  /** x [N, C, H, W], scale [C], shift [C]: mean 0 and variance 1 over each group of channels, then scale and shift. */
  groupNorm: { readonly groups: number; readonly eps: number }
  /** The mean of each group: [N, groups]. */
  groupMean: { readonly groups: number; readonly eps: number }
  /** 1/√(variance + eps) of each group: [N, groups]. */
  groupInvStd: { readonly groups: number; readonly eps: number }
  /** Σ a·b over the pixels of a channel: [N, C, H, W] twice → [N, C, 1, 1]. */
  pixelDot: None
  /** x·scale, and + shift where there is one: x [N, C, H, W]; scale, shift [N, C, 1, 1]. */
  channelAffine: None
}

export type Op = keyof Primitives

/** One rule for every primitive: a forgotten one does not compile. */
export type RuleTable<Rule extends { [O in Op]: unknown }> = { [O in Op]: Rule[O] }

/** What an interpreter of the algebra provides. */
export interface Interpreter<T> {
  apply<O extends Op>(op: O, inputs: readonly T[], attributes: Primitives[O]): T
  shape(x: T): Shape
  /** A constant of the given shape, row by row. */
  constant(values: ArrayLike<number>, shape: readonly number[]): T
}

/** The algebra as the network is written in it: tensors first, one attributes object last. */
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
  /** A number, with as many axes of size 1 as x has, to be broadcast against it. */
  scalarLike(x: T, value: number): T
  /** x·value */
  scale(x: T, value: number): T
}

/** The whole algebra from the three functions of an interpreter. */
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
    reshape: (x, to) => apply('reshape', [x], { shape: to }),
    transpose: (x, permutation) => apply('transpose', [x], { permutation }),
    broadcastTo: (x, to) => apply('broadcastTo', [x], { shape: to }),
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
