import type { OpNode } from '../../algebra/graph.ts'
import type { Padding } from '../../algebra/ops.ts'
import { type Attributes, type Emitter, float, int32, integers, type Tensor, text } from './emitter.ts'
import { channelsLastNameOf } from './layout.ts'

/** Returns the attributes of a convolution operator. */
function convolutionAttributes(padding: 'SAME' | 'VALID', stride: number, dilation = 1): Attributes {
  return {
    T: float,
    data_format: text('NHWC'),
    padding: text(padding),
    strides: integers([1, stride, stride, 1]),
    dilations: integers([1, dilation, dilation, 1]),
  }
}

/** Emits the transposition of a weight [O, I, K, K] to TensorFlow's filter [K, K, I, O]. */
function toFilter(emitter: Emitter, { name }: Tensor): string {
  return emitter.transpose(name, [2, 3, 1, 0])
}

/** Emits zero padding of an image [N, H, W, C]. */
function pad({ emit, integers }: Emitter, x: string, [top, left, bottom, right]: Padding): string {
  if (top + left + bottom + right === 0) return x
  const paddings = integers([0, 0, top, bottom, left, right, 0, 0], [4, 2])
  return emit('Pad', [x, paddings], { T: float, Tpaddings: int32 })
}

/** Emits a crop of an image [N, H, W, C]. */
function crop(
  { emit, integers }: Emitter,
  x: string,
  [top, left]: readonly number[],
  [height, width]: readonly number[],
): string {
  const range = [integers([0, top!, left!, 0]), integers([-1, height!, width!, -1])]
  return emit('Slice', [x, ...range], { T: float, Index: int32 })
}

/**
 * Emits y = w ∗ x + b: x [N, I, H, W], weight [O, I, K, K], optional bias [O] → [N, O, H', W'] in channels-last layout. If
 * TensorFlow's SAME padding differs from the requested one, a Pad operator precedes the convolution.
 */
export function conv2d(
  emitter: Emitter,
  [x, weight, bias]: readonly Tensor[],
  { inputs, attributes: { stride, padding } }: OpNode<'conv2d'>,
): Tensor {
  const samePadding = ((inputs[1]!.shape[2] as number) - 1) / 2
  const same = stride === 1 && padding.every((pixels) => pixels === samePadding)
  const image = channelsLastNameOf(emitter, x!)
  const filter = toFilter(emitter, weight!)
  const product = same
    ? emitter.emit('Conv2D', [image, filter], convolutionAttributes('SAME', 1))
    : emitter.emit('Conv2D', [pad(emitter, image, padding), filter], convolutionAttributes('VALID', stride))
  const attributes = { T: float, data_format: text('NHWC') }
  const name = bias ? emitter.emit('BiasAdd', [product, bias.name], attributes) : product
  return { name, layout: 'channelsLast' }
}

/**
 * Emits dx of a convolution: dy [N, O, H', W'], weight [O, I, K, K] → [N, I, H, W] in channels-last layout. The gradient of
 * the padded image is computed and cropped.
 * @throws Error for a symbolic batch
 */
export function conv2dInputGrad(
  emitter: Emitter,
  [dy, weight]: readonly Tensor[],
  { shape, attributes: { stride, padding } }: OpNode<'conv2dInputGrad'>,
): Tensor {
  const [batch, channels, height, width] = shape
  if (batch === 'N') throw new Error('Cannot compile conv2dInputGrad: the batch size N is unknown.')
  const [top, left, bottom, right] = padding
  const sizes = [batch, (height as number) + top + bottom, (width as number) + left + right, channels]
  const inputs = [
    emitter.integers(sizes as number[]),
    toFilter(emitter, weight!),
    channelsLastNameOf(emitter, dy!),
  ]
  const paddedGrad = emitter.emit('Conv2DBackpropInput', inputs, convolutionAttributes('VALID', stride))
  const name = crop(emitter, paddedGrad, [top, left], [height as number, width as number])
  return { name, layout: 'channelsLast' }
}

/**
 * Emits dw of a convolution: x [N, I, H, W], dy [N, O, H', W'] → [O, I, K, K] in plain layout.
 *
 * dw[o, i, ky, kx] = Σ over n, h, w of x[n, i, h·stride + ky, w·stride + kx] · dy[n, o, h, w], where x is padded. This is a
 * convolution of x with the filter dy, dilated by the stride, with batch and channels exchanged.
 */
export function conv2dWeightGrad(
  emitter: Emitter,
  [x, dy]: readonly Tensor[],
  { inputs, attributes: { stride, padding, kernel } }: OpNode<'conv2dWeightGrad'>,
): Tensor {
  // Rows and columns that the forward pass does not read are cropped, so that the result has the size of the kernel.
  const reached = inputs[1]!.shape.slice(2).map((size) => ((size as number) - 1) * stride + kernel)
  const image = crop(emitter, pad(emitter, channelsLastNameOf(emitter, x!), padding), [0, 0], reached)
  const operands = [
    emitter.transpose(image, [3, 1, 2, 0]),
    emitter.transpose(channelsLastNameOf(emitter, dy!), [1, 2, 0, 3]),
  ]
  const gradient = emitter.emit('Conv2D', operands, convolutionAttributes('VALID', 1, stride))
  return { name: emitter.transpose(gradient, [3, 0, 1, 2]), layout: 'plain' }
}
