import type { OpNode } from '../../algebra/graph.ts'
import type { Op, Primitives, RuleTable, Shape } from '../../algebra/ops.ts'
import { conv2d, conv2dInputGrad, conv2dWeightGrad } from './convolution.ts'
import { type Emitter, float, int32, integers, type Tensor, text } from './emitter.ts'
import { axisIn, channelsLastNameOf, plainNameOf, reorderAxes, unifyLayouts } from './layout.ts'

/** Emits one primitive. It may use only operators that TensorFlow.js supports and that tf2onnx can convert. */
type Lowering<O extends Op> = (emitter: Emitter, inputs: readonly Tensor[], node: OpNode<O>) => Tensor

/**
 * Emits the TensorFlow operators of one node.
 * @param inputs tensors of the node's inputs
 */
export function lower<O extends Op>(emitter: Emitter, inputs: readonly Tensor[], node: OpNode<O>): Tensor {
  const rule = rules[node.op] as Lowering<O>
  return rule(emitter, inputs, node)
}

/** Returns the lowering to an elementwise operator. Its inputs are converted to a common layout. */
const elementwise =
  (op: string) =>
  (emitter: Emitter, inputs: readonly Tensor[]): Tensor => {
    const { names, layout } = unifyLayouts(emitter, inputs)
    return { name: emitter.emit(op, names, { T: float }), layout }
  }

const product = elementwise('Mul')

/** Emits min(max(x, lower bound), upper bound). */
function clamp({ emit, floats }: Emitter, x: string, { min, max }: Primitives['clamp']): string {
  const raised = emit('Maximum', [x, floats([min], [])], { T: float })
  return emit('Minimum', [raised, floats([max], [])], { T: float })
}

/** Looks up rows of a table by integers that are stored as floats. */
function gatherRows({ emit, integers }: Emitter, table: string, index: string): Tensor {
  const rounded = emit('Round', [index], { T: float })
  const integerIndex = emit('Cast', [rounded], { SrcT: float, DstT: int32, Truncate: { b: false } })
  const attributes = { Tparams: float, Tindices: int32, Taxis: int32, batch_dims: { i: '0' } }
  return { name: emit('GatherV2', [table, integerIndex, integers([0], [])], attributes), layout: 'plain' }
}

function reduce({ emit, integers }: Emitter, op: 'Mean' | 'Sum', x: string, axes: readonly number[]): string {
  return emit(op, [x, integers(axes)], { T: float, Tidx: int32, keep_dims: { b: true } })
}

/** Emits x̂ (the normalized x) [N, H, W, C], and the mean and 1/σ [N, 1, groups, 1], once for all nodes that read them. */
function normalize(emitter: Emitter, x: Tensor, shape: Shape, { groups, eps }: Primitives['groupNorm']) {
  const { emit, floats, reshape, once } = emitter
  const [n, channels, height, width] = shape as [Shape[0], number, number, number]
  return once(`normalized ${x.name} ${groups} ${eps}`, () => {
    const view = reshape(channelsLastNameOf(emitter, x), [n, height * width, groups, channels / groups])
    const mean = reduce(emitter, 'Mean', view, [1, 3])
    const centred = emit('Sub', [view, mean], { T: float })
    const variance = reduce(emitter, 'Mean', emit('Square', [centred], { T: float }), [1, 3])
    const shifted = emit('AddV2', [variance, floats([eps], [])], { T: float })
    const invStd = emit('Rsqrt', [shifted], { T: float })
    const y = reshape(emit('Mul', [centred, invStd], { T: float }), [n, height, width, channels])
    return { y, mean, invStd }
  })
}

const rules: RuleTable<{ [O in Op]: Lowering<O> }> = {
  add: elementwise('AddV2'),
  sub: elementwise('Sub'),
  mul: product,
  div: elementwise('RealDiv'),
  exp: elementwise('Exp'),
  log: elementwise('Log'),
  sqrt: elementwise('Sqrt'),
  sigmoid: elementwise('Sigmoid'),
  silu({ emit }, [x]) {
    const name = emit('Mul', [x!.name, emit('Sigmoid', [x!.name], { T: float })], { T: float })
    return { ...x!, name }
  },
  clamp: (emitter, [x], { attributes }) => ({ ...x!, name: clamp(emitter, x!.name, attributes) }),
  within(emitter, [x], { attributes }) {
    const inside = [x!.name, clamp(emitter, x!.name, attributes)]
    const equal = emitter.emit('Equal', inside, { T: float, incompatible_shape_error: { b: true } })
    const casting = { SrcT: { type: 'DT_BOOL' }, DstT: float, Truncate: { b: false } } as const
    return { ...x!, name: emitter.emit('Cast', [equal], casting) }
  },
  stopGradient: (_, [x]) => x!,

  reshape: (emitter, [x], { shape }) => ({
    name: emitter.reshape(plainNameOf(emitter, x!), shape),
    layout: 'plain',
  }),
  transpose: (emitter, [x], { attributes: { permutation } }) => ({
    name: emitter.transpose(plainNameOf(emitter, x!), permutation),
    layout: 'plain',
  }),
  broadcastTo({ emit, integers }, [x], { shape, inputs }) {
    const multiples = shape.map((dim, axis) => {
      if (dim === inputs[0]!.shape[axis]) return 1
      if (dim === 'N')
        throw new Error('Cannot compile broadcastTo: the target size of an axis is the unknown batch size N.')
      return dim
    })
    const tile = [x!.name, integers(reorderAxes(x!.layout, multiples))]
    return { ...x!, name: emit('Tile', tile, { T: float, Tmultiples: int32 }) }
  },
  reduceSum(emitter, [x], { attributes: { axes } }) {
    const { name, layout } = x!
    const layoutAxes = axes.map((axis) => axisIn(layout, axis))
    return { name: reduce(emitter, 'Sum', name, layoutAxes), layout }
  },
  concat(emitter, inputs, { attributes: { axis } }) {
    const { names, layout } = unifyLayouts(emitter, inputs)
    const along = emitter.integers([axisIn(layout, axis)], [])
    const attributes = { T: float, Tidx: int32, N: { i: String(names.length) } }
    return { name: emitter.emit('ConcatV2', [...names, along], attributes), layout }
  },
  slice({ emit, integers }, [x], { shape, attributes: { axis, start, end } }) {
    const begin = shape.map((_, i) => (i === axis ? start : 0))
    const size = shape.map((_, i) => (i === axis ? end - start : -1))
    const range = [begin, size].map((list) => integers(reorderAxes(x!.layout, list)))
    return { ...x!, name: emit('Slice', [x!.name, ...range], { T: float, Index: int32 }) }
  },
  pad({ emit, integers }, [x], { shape, attributes: { axis, before, after } }) {
    const pairs = shape.map((_, i) => (i === axis ? [before, after] : [0, 0]))
    const paddings = integers(reorderAxes(x!.layout, pairs).flat(), [shape.length, 2])
    return { ...x!, name: emit('Pad', [x!.name, paddings], { T: float, Tpaddings: int32 }) }
  },

  matmul(emitter, inputs, { shape, attributes: { transposeA, transposeB } }) {
    const factors = inputs.map((value) => plainNameOf(emitter, value))
    const [a, b] = [{ b: transposeA }, { b: transposeB }]
    const name =
      shape.length === 2
        ? emitter.emit('MatMul', factors, { T: float, transpose_a: a, transpose_b: b })
        : emitter.emit('BatchMatMulV2', factors, { T: float, adj_x: a, adj_y: b })
    return { name, layout: 'plain' }
  },
  softmax: (emitter, [x]) => ({
    name: emitter.emit('Softmax', [plainNameOf(emitter, x!)], { T: float }),
    layout: 'plain',
  }),
  gather: (emitter, [table, index]) => gatherRows(emitter, plainNameOf(emitter, table!), index!.name),
  oneHot(emitter, [index], { attributes: { depth } }) {
    const identity = Float32Array.from({ length: depth * depth }, (_, i) => (i % (depth + 1) === 0 ? 1 : 0))
    const table = emitter.once(`identity ${depth}`, () => emitter.floats(identity, [depth, depth]))
    return gatherRows(emitter, table, index!.name)
  },

  conv2d,
  conv2dInputGrad,
  conv2dWeightGrad,
  upsample2x(emitter, [x], { shape }) {
    const size = emitter.integers([shape[2] as number, shape[3] as number])
    const attributes = { T: float, align_corners: { b: false }, half_pixel_centers: { b: false } }
    const name = emitter.emit('ResizeNearestNeighbor', [channelsLastNameOf(emitter, x!), size], attributes)
    return { name, layout: 'channelsLast' }
  },
  sumPool2x(emitter, [x]) {
    const window = integers([1, 2, 2, 1])
    const mean = emitter.emit('AvgPool', [channelsLastNameOf(emitter, x!)], {
      T: float,
      data_format: text('NHWC'),
      ksize: window,
      strides: window,
      padding: text('VALID'),
    })
    const name = emitter.emit('Mul', [mean, emitter.floats([4], [])], { T: float })
    return { name, layout: 'channelsLast' }
  },

  groupNorm(emitter, [x, scale, shift], { shape, attributes }) {
    const { y } = normalize(emitter, x!, shape, attributes)
    const scaled = emitter.emit('Mul', [y, scale!.name], { T: float })
    return { name: emitter.emit('AddV2', [scaled, shift!.name], { T: float }), layout: 'channelsLast' }
  },
  groupMean(emitter, [x], { shape, inputs, attributes }) {
    const { mean } = normalize(emitter, x!, inputs[0]!.shape, attributes)
    return { name: emitter.reshape(mean, shape), layout: 'plain' }
  },
  groupInvStd(emitter, [x], { shape, inputs, attributes }) {
    const { invStd } = normalize(emitter, x!, inputs[0]!.shape, attributes)
    return { name: emitter.reshape(invStd, shape), layout: 'plain' }
  },
  pixelDot(emitter, inputs) {
    const { name, layout } = product(emitter, inputs)
    return {
      name: reduce(
        emitter,
        'Sum',
        name,
        [2, 3].map((axis) => axisIn(layout, axis)),
      ),
      layout,
    }
  },
  channelAffine(emitter, [x, scale, shift]) {
    const scaled = product(emitter, [x!, scale!])
    return shift === undefined ? scaled : elementwise('AddV2')(emitter, [scaled, shift])
  },
}
