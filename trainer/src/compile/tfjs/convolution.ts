import type { OpNode } from '../../algebra/graph.ts'
import type { Padding } from '../../algebra/ops.ts'
import { type Attributes, type Emitter, float, int32, integers, text, type Value } from './emitter.ts'
import { channelsLast } from './layout.ts'

function convolution(padding: 'SAME' | 'VALID', stride: number, dilation = 1): Attributes {
  return {
    T: float,
    data_format: text('NHWC'),
    padding: text(padding),
    strides: integers([1, stride, stride, 1]),
    dilations: integers([1, dilation, dilation, 1]),
  }
}

/** A filter as TensorFlow has it: [K, K, I, O]. */
function filterOf(emitter: Emitter, { name }: Value): string {
  return emitter.transpose(name, [2, 3, 1, 0])
}

/** Zeros around a picture whose channels are last. */
function padded({ emit, integers }: Emitter, x: string, [top, left, bottom, right]: Padding): string {
  if (top + left + bottom + right === 0) return x
  const paddings = integers([0, 0, top, bottom, left, right, 0, 0], [4, 2])
  return emit('Pad', [x, paddings], { T: float, Tpaddings: int32 })
}

/** A part of a picture whose channels are last. */
function cropped(
  { emit, integers }: Emitter,
  x: string,
  [top, left]: readonly number[],
  [height, width]: readonly number[],
): string {
  const range = [integers([0, top!, left!, 0]), integers([-1, height!, width!, -1])]
  return emit('Slice', [x, ...range], { T: float, Index: int32 })
}

/** SAME where it means what was asked for; otherwise the padding is an operator of its own. */
export function conv2d(
  emitter: Emitter,
  [x, weight, bias]: readonly Value[],
  { inputs, attributes: { stride, padding } }: OpNode<'conv2d'>,
): Value {
  const around = ((inputs[1]!.shape[2] as number) - 1) / 2
  const same = stride === 1 && padding.every((pixels) => pixels === around)
  const image = channelsLast(emitter, x!)
  const filter = filterOf(emitter, weight!)
  const product = same
    ? emitter.emit('Conv2D', [image, filter], convolution('SAME', 1))
    : emitter.emit('Conv2D', [padded(emitter, image, padding), filter], convolution('VALID', stride))
  const attributes = { T: float, data_format: text('NHWC') }
  const name = bias ? emitter.emit('BiasAdd', [product, bias.name], attributes) : product
  return { name, layout: 'channelsLast' }
}

/** The gradient in the padded picture, without its margin. */
export function conv2dInputGrad(
  emitter: Emitter,
  [dy, weight]: readonly Value[],
  { shape, attributes: { stride, padding } }: OpNode<'conv2dInputGrad'>,
): Value {
  const [batch, channels, height, width] = shape
  if (batch === 'N') throw new Error('conv2dInputGrad needs a batch of a fixed size.')
  const [top, left, bottom, right] = padding
  const sizes = [batch, (height as number) + top + bottom, (width as number) + left + right, channels]
  const inputs = [emitter.integers(sizes as number[]), filterOf(emitter, weight!), channelsLast(emitter, dy!)]
  const whole = emitter.emit('Conv2DBackpropInput', inputs, convolution('VALID', stride))
  const name = cropped(emitter, whole, [top, left], [height as number, width as number])
  return { name, layout: 'channelsLast' }
}

/**
 * dw[o, i, ky, kx] = Σ over n, h, w of x[n, i, h·stride + ky, w·stride + kx]·dy[n, o, h, w]: a convolution of x with dy as
 * its filter, dilated by the stride, where channels are the batch and the batch is the channels.
 */
export function conv2dWeightGrad(
  emitter: Emitter,
  [x, dy]: readonly Value[],
  { inputs, attributes: { stride, padding, kernel } }: OpNode<'conv2dWeightGrad'>,
): Value {
  // What the kernel never reaches at the lower and right edge is cut off, so that the result is as large as the kernel.
  const reached = inputs[1]!.shape.slice(2).map((size) => ((size as number) - 1) * stride + kernel)
  const image = cropped(emitter, padded(emitter, channelsLast(emitter, x!), padding), [0, 0], reached)
  const operands = [
    emitter.transpose(image, [3, 1, 2, 0]),
    emitter.transpose(channelsLast(emitter, dy!), [1, 2, 0, 3]),
  ]
  const gradient = emitter.emit('Conv2D', operands, convolution('VALID', 1, stride))
  return { name: emitter.transpose(gradient, [3, 0, 1, 2]), layout: 'recorded' }
}
