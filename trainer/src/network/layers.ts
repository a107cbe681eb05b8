import type { Ops, Padding, Shape } from '../algebra/ops.ts'

/** Distribution of a parameter's initial values. By default, layers use the distributions of their PyTorch counterparts. */
export type Initializer =
  /** U(−bound, bound); the bound of convolutions and linear layers is 1/√fanIn. */
  | { readonly kind: 'uniform'; readonly bound: number }
  /** N(0, 1), for embeddings. */
  | { readonly kind: 'normal' }
  | { readonly kind: 'constant'; readonly value: number }
  /** A table [rows, columns] whose entries are computed by a formula. It is not trained. */
  | { readonly kind: 'table'; readonly value: (row: number, column: number) => number }

export interface ParameterSpec {
  /** Name in PyTorch's state_dict. */
  readonly name: string
  readonly shape: readonly number[]
  readonly initializer: Initializer
  readonly trained: boolean
}

/** Returns the tensor of a parameter, in the representation of the interpreter. */
export type Parameters<T> = (spec: ParameterSpec) => T

/** Context of a layer: the algebra, the parameters and the layer's path in the state_dict. */
export interface Scope<T> {
  readonly ops: Ops<T>
  readonly parameters: Parameters<T>
  readonly path: string
}

/** Returns the scope of a sublayer. */
export function childScope<T>(scope: Scope<T>, name: string): Scope<T> {
  return { ...scope, path: scope.path === '' ? name : `${scope.path}.${name}` }
}

interface InitializerOptions {
  /** Whether to initialize to zero instead of randomly, for the last layer of a residual branch. */
  readonly zero?: boolean
}

function parameter<T>(
  { parameters, path }: Scope<T>,
  name: string,
  shape: readonly number[],
  initializer: Initializer,
): T {
  return parameters({
    name: `${path}.${name}`,
    shape,
    initializer,
    trained: initializer.kind !== 'table',
  })
}

const zeros: Initializer = { kind: 'constant', value: 0 }
const ones: Initializer = { kind: 'constant', value: 1 }

function uniformOver(fanIn: number, zero = false): Initializer {
  return zero ? zeros : { kind: 'uniform', bound: 1 / Math.sqrt(fanIn) }
}

export interface Conv2dOptions extends InitializerOptions {
  readonly outputs: number
  readonly kernel: number
  readonly stride?: number
  /** Default: (kernel − 1)/2 on every side, which preserves the size at stride 1. */
  readonly padding?: Padding
}

/** Applies nn.Conv2d: [N, C, H, W] → [N, outputs, H', W']. */
export function conv2d<T>(
  scope: Scope<T>,
  x: T,
  { outputs, kernel, stride = 1, padding, zero }: Conv2dOptions,
): T {
  const { ops } = scope
  const inputs = ops.shape(x)[1] as number
  const around = (kernel - 1) / 2
  const initializer = uniformOver(inputs * kernel * kernel, zero)
  return ops.conv2d(
    x,
    parameter(scope, 'weight', [outputs, inputs, kernel, kernel], initializer),
    parameter(scope, 'bias', [outputs], initializer),
    { stride, padding: padding ?? [around, around, around, around] },
  )
}

/** Applies nn.Linear: [N, inputs] → [N, outputs]. */
export function linear<T>(scope: Scope<T>, x: T, { outputs }: { outputs: number }): T {
  const { ops } = scope
  const inputs = ops.shape(x)[1] as number
  const initializer = uniformOver(inputs)
  const weight = parameter(scope, 'weight', [outputs, inputs], initializer)
  const bias = parameter(scope, 'bias', [outputs], initializer)
  return ops.add(ops.matmul(x, weight, { transposeB: true }), ops.reshape(bias, [1, outputs]))
}

/** Applies nn.GroupNorm with affine parameters: [N, C, H, W] → [N, C, H, W]. */
export function groupNorm<T>(scope: Scope<T>, x: T, { groups, eps }: { groups: number; eps: number }): T {
  const channels = scope.ops.shape(x)[1] as number
  return scope.ops.groupNorm(
    x,
    parameter(scope, 'weight', [channels], ones),
    parameter(scope, 'bias', [channels], zeros),
    { groups, eps },
  )
}

/**
 * Applies nn.MultiheadAttention of every pixel to all pixels (Vaswani et al. 2017, eq. 1): [N, C, H, W] → [N, C, H, W].
 *
 * The projections are 1×1 convolutions. `in_proj_weight` [3C, C] is the concatenation of the weights of q, k and v.
 */
export function selfAttention<T>(
  scope: Scope<T>,
  x: T,
  { heads, zero = false }: { heads: number } & InitializerOptions,
): T {
  const { ops } = scope
  const [n, channels, height, width] = ops.shape(x) as [Shape[0], number, number, number]
  const pointwise = { stride: 1, padding: [0, 0, 0, 0] } as const

  // xavier_uniform over [3C, C]: the bound is √(6/(3C + C)).
  const inWeight = parameter(scope, 'in_proj_weight', [3 * channels, channels], {
    kind: 'uniform',
    bound: Math.sqrt(6 / (4 * channels)),
  })
  const inBias = parameter(scope, 'in_proj_bias', [3 * channels], zeros)
  const projected = ops.conv2d(x, ops.reshape(inWeight, [3 * channels, channels, 1, 1]), inBias, pointwise)
  const [q, k, v] = [0, 1, 2].map((part) =>
    ops.reshape(ops.slice(projected, { axis: 1, start: part * channels, end: (part + 1) * channels }), [
      n,
      heads,
      channels / heads,
      height * width,
    ]),
  ) as [T, T, T]

  // [N, heads, H·W queries, H·W keys]
  const scores = ops.matmul(ops.scale(q, 1 / Math.sqrt(channels / heads)), k, { transposeA: true })
  const attended = ops.reshape(ops.matmul(v, ops.softmax(scores), { transposeB: true }), [
    n,
    channels,
    height,
    width,
  ])

  const out = childScope(scope, 'out_proj')
  const outWeight = parameter(out, 'weight', [channels, channels], uniformOver(channels, zero))
  const outBias = parameter(out, 'bias', [channels], zeros)
  return ops.conv2d(attended, ops.reshape(outWeight, [channels, channels, 1, 1]), outBias, pointwise)
}

/**
 * Looks up the transformer's position embedding of each timestep (DDPM appendix B). Row t is sin(t·f) in the first half
 * of the columns and cos(t·f) in the second, with f_i = 10000^(−i/(half − 1)).
 *
 * The rows are stored in a table: WGSL guarantees the accuracy of sin and cos only within ±π.
 * @param timestep [N], integers from 0 to timesteps − 1
 * @returns [N, columns]
 */
export function sinusoidalEmbedding<T>(
  scope: Scope<T>,
  timestep: T,
  { timesteps, columns }: { timesteps: number; columns: number },
): T {
  const half = columns / 2
  const table = parameter(scope, 'weight', [timesteps, columns], {
    kind: 'table',
    value(row, column) {
      const angle = row * 10000 ** (-(column % half) / (half - 1))
      return column < half ? Math.sin(angle) : Math.cos(angle)
    },
  })
  return scope.ops.gather(table, timestep)
}

/**
 * Looks up a trained row for each label: [N] → [N, columns]. The lookup is a matrix product with one-hot rows, so that the
 * table has a gradient.
 */
export function labelEmbedding<T>(
  scope: Scope<T>,
  label: T,
  { rows, columns }: { rows: number; columns: number },
): T {
  const table = parameter(scope, 'weight', [rows, columns], { kind: 'normal' })
  return scope.ops.matmul(scope.ops.oneHot(label, { depth: rows }), table)
}
