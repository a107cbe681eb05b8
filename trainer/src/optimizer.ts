import type { Ops } from './ops.ts'

/** What Adam needs to know once. */
export interface AdamConfig {
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
}

/** What changes from step to step, computed in float64 outside the graph. */
export interface StepScalars<T> {
  /** learning rate / (1 − β₁ᵗ) */
  readonly stepSize: T
  /** 1/√(1 − β₂ᵗ) */
  readonly rootCorrection: T
  /** 1 − learning rate · weight decay (AdamW) */
  readonly keep: T
  /** 1 − decay of the moving average */
  readonly emaRate: T
}

/** Names of the scalars in the order in which they are fed. */
export const stepScalarNames = ['stepSize', 'rootCorrection', 'keep', 'emaRate'] as const

/** The scalars of step t = 1, 2, … */
export function stepScalars(
  { beta1, beta2 }: AdamConfig,
  {
    step,
    learningRate,
    weightDecay,
    emaDecay,
  }: { step: number; learningRate: number; weightDecay: number; emaDecay: number },
): StepScalars<number> {
  return {
    stepSize: learningRate / (1 - beta1 ** step),
    rootCorrection: 1 / Math.sqrt(1 - beta2 ** step),
    keep: 1 - learningRate * weightDecay,
    emaRate: 1 - emaDecay,
  }
}

/** Flat vectors [P] that a step turns into the next ones. */
export interface OptimizerState<T> {
  readonly parameters: T
  readonly firstMoment: T
  readonly secondMoment: T
  readonly ema: T
}

/** ‖g‖₂ over flat vectors: [1]. */
export function norm<T>(ops: Ops<T>, gradients: readonly T[]): T {
  const squares = gradients.map((gradient) => ops.reduceSum(ops.mul(gradient, gradient), [0]))
  return ops.sqrt(squares.reduce((sum, square) => ops.add(sum, square)))
}

/** min(1, bound/‖g‖): what torch.nn.utils.clip_grad_norm_ multiplies gradients by. */
export function clipScale<T>(ops: Ops<T>, gradientNorm: T, bound: number): T {
  const ratio = ops.div(
    ops.scalarLike(gradientNorm, bound),
    ops.add(gradientNorm, ops.scalarLike(gradientNorm, 1e-6)),
  )
  return ops.clamp(ratio, { min: 0, max: 1 })
}

/**
 * One step of Adam (Kingma & Ba 2015, algorithm 1) with decoupled weight decay (Loshchilov & Hutter 2019), and of the
 * moving average of the parameters.
 */
export function adamStep<T>(
  ops: Ops<T>,
  { parameters, firstMoment, secondMoment, ema }: OptimizerState<T>,
  gradient: T,
  { stepSize, rootCorrection, keep, emaRate }: StepScalars<T>,
  { beta1, beta2, eps }: AdamConfig,
): OptimizerState<T> {
  // m ← m + (1 − β₁)(g − m), v ← v + (1 − β₂)(g² − v)
  const towards = (from: T, to: T, rate: number) => ops.add(from, ops.scale(ops.sub(to, from), rate))
  const m = towards(firstMoment, gradient, 1 - beta1)
  const v = towards(secondMoment, ops.mul(gradient, gradient), 1 - beta2)

  const denominator = ops.add(ops.mul(ops.sqrt(v), rootCorrection), ops.scalarLike(v, eps))
  const moved = ops.sub(ops.mul(parameters, keep), ops.mul(ops.div(m, denominator), stepSize))
  return {
    parameters: moved,
    firstMoment: m,
    secondMoment: v,
    ema: ops.add(ema, ops.mul(ops.sub(moved, ema), emaRate)),
  }
}
