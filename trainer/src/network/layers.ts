import type { Ops, Padding, Shape } from '../algebra/ops.ts'

/** How a parameter starts: PyTorch's defaults, so that a new network is the seed's in distribution. */
export type Initializer =
  /** U(−1/√fanIn, 1/√fanIn): convolution and linear layers. */
  | { readonly kind: 'uniform'; readonly bound: number }
  /** N(0, 1): embeddings. */
  | { readonly kind: 'normal' }
  | { readonly kind: 'constant'; readonly value: number }
  /** Not trained: given by a formula. */
  | { readonly kind: 'table'; readonly value: (row: number, column: number) => number }

export interface ParameterSpec {
  /** The name in PyTorch's state_dict. */
  readonly name: string
  readonly shape: readonly number[]
  readonly initializer: Initializer
  readonly trained: boolean
}

/** Hands out parameters by name; whoever reads the network decides what they are. */
export type Parameters<T> = (spec: ParameterSpec) => T

/** Where a layer is: the algebra, the parameters and the layer's name in the state_dict. */
export interface Scope<T> {
  readonly ops: Ops<T>
  readonly parameters: Parameters<T>
  readonly path: string
}

export function childScope<T>(scope: Scope<T>, name: string): Scope<T> {
  return { ...scope, path: scope.path === '' ? name : `${scope.path}.${name}` }
}

interface InitializerOptions {
  /** Zero instead of random: for the last layer of a residual branch. */
  readonly zero?: boolean
}

function parameter<T>(
  { parameters, path }: Scope<T>,
  name: string,
  shape: readonly number[],
  start: Initializer,
): T {
  return parameters({
    name: `${path}.${name}`,
    shape,
    initializer: start,
    trained: start.kind !== 'table',
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
  /** Defaults to what keeps the size at stride 1. */
  readonly padding?: Padding
}

/** nn.Conv2d: [N, C, H, W] → [N, outputs, H', W']. */
export function conv2d<T>(
  scope: Scope<T>,
  x: T,
  { outputs, kernel, stride = 1, padding, zero }: Conv2dOptions,
): T {
  const { ops } = scope
  const inputs = ops.shape(x)[1] as number
  const around = (kernel - 1) / 2
  const start = uniformOver(inputs * kernel * kernel, zero)
  return ops.conv2d(
    x,
    parameter(scope, 'weight', [outputs, inputs, kernel, kernel], start),
    parameter(scope, 'bias', [outputs], start),
    { stride, padding: padding ?? [around, around, around, around] },
  )
}

/** nn.Linear: [N, inputs] → [N, outputs]. */
export function linear<T>(scope: Scope<T>, x: T, { outputs }: { outputs: number }): T {
  const { ops } = scope
  const inputs = ops.shape(x)[1] as number
  const start = uniformOver(inputs)
  const weight = parameter(scope, 'weight', [outputs, inputs], start)
  const bias = parameter(scope, 'bias', [outputs], start)
  return ops.add(ops.matmul(x, weight, { transposeB: true }), ops.reshape(bias, [1, outputs]))
}

/** nn.GroupNorm with affine parameters: [N, C, H, W]. */
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
 * nn.MultiheadAttention of pixels over pixels (Vaswani et al. 2017, eq. 1), channels first: [N, C, H, W] → the same.
 * The projections are 1×1 convolutions; `in_proj_weight` [3C, C] holds those of q, k and v.
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

  // [N, heads, queries, keys]
  const scores = ops.matmul(ops.scale(q, 1 / Math.sqrt(channels / heads)), k, { transposeA: true })
  const mixed = ops.reshape(ops.matmul(v, ops.softmax(scores), { transposeB: true }), [
    n,
    channels,
    height,
    width,
  ])

  const out = childScope(scope, 'out_proj')
  const outWeight = parameter(out, 'weight', [channels, channels], uniformOver(channels, zero))
  const outBias = parameter(out, 'bias', [channels], zeros)
  return ops.conv2d(mixed, ops.reshape(outWeight, [channels, channels, 1, 1]), outBias, pointwise)
}

/**
 * The transformer's position embedding of a timestep (DDPM appendix B): row t is sin(t·f) for half the columns, then
 * cos(t·f), f_i = 10000^(−i/(half−1)). Rows are looked up in a stored table, not computed on the GPU.
 * @param timestep [N], whole numbers from 0 to timesteps − 1
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

/** A trained row for each of `rows` labels: [N] → [N, columns]. As a product with one-hot rows, it is differentiable. */
export function labelEmbedding<T>(
  scope: Scope<T>,
  label: T,
  { rows, columns }: { rows: number; columns: number },
): T {
  const table = parameter(scope, 'weight', [rows, columns], { kind: 'normal' })
  return scope.ops.matmul(scope.ops.oneHot(label, { depth: rows }), table)
}
