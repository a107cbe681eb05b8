import * as tf from '@tensorflow/tfjs-core'
// Imported for its side effect: it registers the gradients of the kernels. Among the packages that Node can load, only this
// one and the much larger @tensorflow/tfjs register them.
import '@tensorflow/tfjs-layers'
import type { Convolution, Interpreter, Op, Primitives } from '../algebra/ops.ts'

type Rule<O extends Op> = (inputs: readonly tf.Tensor[], attributes: Primitives[O]) => tf.Tensor
type Size4 = [number, number, number, number]

const unary =
  (f: (x: tf.Tensor) => tf.Tensor) =>
  ([x]: readonly tf.Tensor[]) =>
    f(x!)
const binary =
  (f: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor) =>
  ([a, b]: readonly tf.Tensor[]) =>
    f(a!, b!)

// All backends support convolutions of [N, H, W, C]. Only some support [N, C, H, W].
const channelsLast = (x: tf.Tensor) => tf.transpose(x, [0, 2, 3, 1]) as tf.Tensor4D
const channelsFirst = (x: tf.Tensor) => tf.transpose(x, [0, 3, 1, 2])
/** [O, I, K, K] → [K, K, I, O] */
const kernelLast = (weight: tf.Tensor) => tf.transpose(weight, [2, 3, 1, 0]) as tf.Tensor4D
const kernelFirst = (weight: tf.Tensor) => tf.transpose(weight, [3, 2, 0, 1])

/**
 * Converts padding to TensorFlow's 'same' if that adds the same zeros. Otherwise, `padImage` pads the image explicitly and
 * the convolution is 'valid': libtensorflow's filter gradient does not support explicit padding, and 'same' pads differently
 * at stride 2.
 */
function paddingOf({ stride, padding }: Convolution, kernel: number) {
  const [top, left, bottom, right] = padding
  const same = stride === 1 && padding.every((pixels) => pixels === (kernel - 1) / 2)
  const around: [number, number][] = [
    [0, 0],
    [top, bottom],
    [left, right],
    [0, 0],
  ]
  return same
    ? {
        pad: 'same' as const,
        padImage: (x: tf.Tensor4D) => x,
        top: 0,
        left: 0,
        extraHeight: 0,
        extraWidth: 0,
      }
    : {
        pad: 'valid' as const,
        padImage: (x: tf.Tensor4D) => tf.pad(x, around),
        top,
        left,
        extraHeight: top + bottom,
        extraWidth: left + right,
      }
}

/** Returns the sizes of x with the axes N, C and H merged, so that resampling needs only tensors of rank 4. */
function rowsOf(x: tf.Tensor): { rows: number; columns: number; shape: Size4 } {
  const shape = x.shape as Size4
  return { rows: shape[0] * shape[1] * shape[2], columns: shape[3], shape }
}

const toInteger = (x: tf.Tensor) => tf.cast(tf.round(x), 'int32') as tf.Tensor1D

function groupStatistics(x: tf.Tensor, { groups, eps }: Primitives['groupNorm']) {
  const [n, channels, height, width] = x.shape as Size4
  const view = tf.reshape(x, [n, groups, (channels / groups) * height * width])
  const mean = tf.mean(view, 2, true)
  const centred = tf.sub(view, mean)
  const invStd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), 2, true), eps))
  return { mean, centred, invStd }
}

const rules: { [O in Op]: Rule<O> } = {
  add: binary(tf.add),
  sub: binary(tf.sub),
  mul: binary(tf.mul),
  div: binary(tf.div),
  exp: unary(tf.exp),
  log: unary(tf.log),
  sqrt: unary(tf.sqrt),
  sigmoid: unary(tf.sigmoid),
  silu: unary((x) => tf.mul(x, tf.sigmoid(x))),
  clamp: ([x], { min, max }) => tf.clipByValue(x!, min, max),
  within: ([x], { min, max }) =>
    tf.cast(tf.logicalAnd(tf.greaterEqual(x!, min), tf.lessEqual(x!, max)), 'float32'),
  stopGradient: unary(
    tf.customGrad((x) => ({ value: tf.clone(x as tf.Tensor), gradFunc: (dy) => tf.zerosLike(dy) })),
  ),

  reshape: ([x], { shape }) => tf.reshape(x!, shape as number[]),
  transpose: ([x], { permutation }) => tf.transpose(x!, [...permutation]),
  broadcastTo: ([x], { shape }) => tf.broadcastTo(x!, shape as number[]),
  reduceSum: ([x], { axes }) => tf.sum(x!, [...axes], true),
  concat: (inputs, { axis }) => tf.concat([...inputs], axis),
  slice([x], { axis, start, end }) {
    const begin = x!.shape.map((_, i) => (i === axis ? start : 0))
    return tf.slice(
      x!,
      begin,
      x!.shape.map((size, i) => (i === axis ? end - start : size)),
    )
  },
  pad: ([x], { axis, before, after }) =>
    tf.pad(
      x!,
      x!.shape.map((_, i): [number, number] => (i === axis ? [before, after] : [0, 0])),
    ),

  matmul: ([a, b], { transposeA, transposeB }) => tf.matMul(a!, b!, transposeA, transposeB),
  softmax: unary(tf.softmax),
  gather: binary((table, index) => tf.gather(table, toInteger(index))),
  oneHot: ([index], { depth }) => tf.oneHot(toInteger(index!), depth, 1, 0, 'float32'),

  conv2d([x, weight, bias], attributes) {
    const { pad, padImage } = paddingOf(attributes, weight!.shape[2]!)
    const y = tf.conv2d(padImage(channelsLast(x!)), kernelLast(weight!), attributes.stride, pad)
    return channelsFirst(bias === undefined ? y : tf.add(y, bias))
  },
  conv2dInputGrad([dy, weight], { inputShape, ...attributes }) {
    const [n, channels, height, width] = inputShape as Size4
    const { pad, top, left, extraHeight, extraWidth } = paddingOf(attributes, weight!.shape[2]!)
    const padded: Size4 = [n, height + extraHeight, width + extraWidth, channels]
    const dx = tf.conv2dTranspose(channelsLast(dy!), kernelLast(weight!), padded, attributes.stride, pad)
    return channelsFirst(tf.slice(dx, [0, top, left, 0], [n, height, width, channels]))
  },
  conv2dWeightGrad([x, dy], { kernel, ...attributes }) {
    const { pad, padImage } = paddingOf(attributes, kernel)
    const filterShape = [kernel, kernel, x!.shape[1]!, dy!.shape[1]!]
    const inputs = { x: padImage(channelsLast(x!)), dy: channelsLast(dy!) }
    const dw: tf.Tensor = tf.engine().runKernel(tf.Conv2DBackpropFilter, inputs, {
      strides: attributes.stride,
      pad,
      dataFormat: 'NHWC',
      filterShape,
    })
    return kernelFirst(dw)
  },
  upsample2x([x]) {
    const { rows, columns, shape } = rowsOf(x!)
    const repeated = tf.tile(tf.reshape(x!, [rows, 1, columns, 1]), [1, 2, 1, 2])
    return tf.reshape(repeated, [shape[0], shape[1], 2 * shape[2], 2 * shape[3]])
  },
  sumPool2x([x]) {
    const { rows, columns, shape } = rowsOf(x!)
    const cells = tf.reshape(x!, [rows / 2, 2, columns / 2, 2])
    return tf.reshape(tf.sum(cells, [1, 3]), [shape[0], shape[1], shape[2] / 2, shape[3] / 2])
  },

  groupNorm([x, scale, shift], attributes) {
    const perChannel = (value: tf.Tensor) => tf.reshape(value, [1, value.size, 1, 1])
    const { centred, invStd } = groupStatistics(x!, attributes)
    const normalized = tf.reshape(tf.mul(centred, invStd), x!.shape)
    return tf.add(tf.mul(normalized, perChannel(scale!)), perChannel(shift!))
  },
  groupMean: ([x], attributes) =>
    tf.reshape(groupStatistics(x!, attributes).mean, [x!.shape[0]!, attributes.groups]),
  groupInvStd: ([x], attributes) =>
    tf.reshape(groupStatistics(x!, attributes).invStd, [x!.shape[0]!, attributes.groups]),
  pixelDot: ([a, b]) => tf.sum(tf.mul(a!, b!), [2, 3], true),
  channelAffine: ([x, scale, shift]) => {
    const scaled = tf.mul(x!, scale!)
    return shift === undefined ? scaled : tf.add(scaled, shift)
  },
}

/** Runs the primitives eagerly with TensorFlow.js, on the backend of the last tf.setBackend. */
export const tfjs: Interpreter<tf.Tensor> = {
  apply: (op, inputs, attributes) => (rules[op] as Rule<typeof op>)(inputs, attributes),
  shape: (x) => x.shape,
  constant: (values, shape) => tf.tensor(Float32Array.from(values), [...shape], 'float32'),
}
