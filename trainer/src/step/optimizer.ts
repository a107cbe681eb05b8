import type { Ops } from '../algebra/ops.ts'
import { sizeOf } from '../algebra/shape-rules.ts'

/** Constants of Adam (Kingma & Ba 2015). */
export interface AdamConfig {
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
}

/** Values that are different in each step. They are computed outside the graph, in float64. */
export interface StepScalars<T> {
  /** learning rate / (1 − β₁ᵗ) */
  readonly stepSize: T
  /** 1/√(1 − β₂ᵗ) */
  readonly rootCorrection: T
  /** 1 − learning rate · weight decay (AdamW) */
  readonly weightScale: T
  /** 1 − EMA decay */
  readonly emaRate: T
}

/** Order of the scalars in the input `scalars` of `updateGraph`. */
export const stepScalarNames = ['stepSize', 'rootCorrection', 'weightScale', 'emaRate'] as const

/** Returns the scalars of step t = 1, 2, …, rounded to float32 so that every engine uses the same values. */
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
    stepSize: Math.fround(learningRate / (1 - beta1 ** step)),
    rootCorrection: Math.fround(1 / Math.sqrt(1 - beta2 ** step)),
    weightScale: Math.fround(1 - learningRate * weightDecay),
    emaRate: Math.fround(1 - emaDecay),
  }
}

/** The vectors [P] that a training step updates. */
export interface OptimizerState<T> {
  readonly parameters: T
  readonly firstMoment: T
  readonly secondMoment: T
  readonly ema: T
}

/** Names of the state's vectors. */
export const stateNames = ['parameters', 'firstMoment', 'secondMoment', 'ema'] as const

/** Builds a state by calling `f` once for each name, in the order of `stateNames`. */
export function mapState<T>(f: (name: (typeof stateNames)[number]) => T): OptimizerState<T> {
  return {
    parameters: f('parameters'),
    firstMoment: f('firstMoment'),
    secondMoment: f('secondMoment'),
    ema: f('ema'),
  }
}

/**
 * Computes ‖g‖₂ over tensors of any shapes. The result has shape [1].
 *
 * Pass the gradients in the order of the network's layers. onnxruntime computes the last input of an operator first. In
 * this order it computes each gradient as soon as the backward pass reaches the layer, which needs less memory.
 */
export function norm<T>(ops: Ops<T>, gradients: readonly T[]): T {
  const squares = gradients.map((gradient) => {
    const flat = ops.reshape(gradient, [sizeOf(ops.shape(gradient))])
    return ops.reduceSum(ops.mul(flat, flat), [0])
  })
  return ops.sqrt(ops.reduceSum(ops.concat(squares, 0), [0]))
}

/**
 * Returns min(1, maxNorm/‖g‖), the factor by which torch.nn.utils.clip_grad_norm_ multiplies gradients.
 * @param maxNorm null to disable clipping
 */
export function clipScale(gradientNorm: number, maxNorm: number | null): number {
  return maxNorm === null ? 1 : Math.min(1, maxNorm / (gradientNorm + 1e-6))
}

/**
 * Computes one step of Adam (Kingma & Ba 2015, algorithm 1) with decoupled weight decay (Loshchilov & Hutter 2019),
 * and updates the EMA of the parameters.
 */
export function adamStep<T>(
  ops: Ops<T>,
  { parameters, firstMoment, secondMoment, ema }: OptimizerState<T>,
  gradient: T,
  { stepSize, rootCorrection, weightScale, emaRate }: StepScalars<T>,
  { beta1, beta2, eps }: AdamConfig,
): OptimizerState<T> {
  // m ← m + (1 − β₁)(g − m), v ← v + (1 − β₂)(g² − v)
  const interpolate = (from: T, to: T, rate: number) => ops.add(from, ops.scale(ops.sub(to, from), rate))
  const m = interpolate(firstMoment, gradient, 1 - beta1)
  const v = interpolate(secondMoment, ops.mul(gradient, gradient), 1 - beta2)

  const denominator = ops.add(ops.mul(ops.sqrt(v), rootCorrection), ops.scalarLike(v, eps))
  const updated = ops.sub(ops.mul(parameters, weightScale), ops.mul(ops.div(m, denominator), stepSize))
  return {
    parameters: updated,
    firstMoment: m,
    secondMoment: v,
    ema: ops.add(ema, ops.mul(ops.sub(updated, ema), emaRate)),
  }
}

/**
 * Computes the same step as `adamStep`, in place on arrays. One pass over memory is faster than a graph of elementwise
 * operations.
 * @param gradientScale factor applied to the gradient
 */
export function adamStepInPlace(
  { parameters, firstMoment, secondMoment, ema }: OptimizerState<Float32Array>,
  gradient: Float32Array,
  gradientScale: number,
  { stepSize, rootCorrection, weightScale, emaRate }: StepScalars<number>,
  { beta1, beta2, eps }: AdamConfig,
): void {
  for (let i = 0; i < gradient.length; i++) {
    const g = gradient[i]! * gradientScale
    const m = firstMoment[i]! + (1 - beta1) * (g - firstMoment[i]!)
    const v = secondMoment[i]! + (1 - beta2) * (g * g - secondMoment[i]!)
    const updated = weightScale * parameters[i]! - (stepSize * m) / (rootCorrection * Math.sqrt(v) + eps)
    firstMoment[i] = m
    secondMoment[i] = v
    parameters[i] = updated
    ema[i] = ema[i]! + emaRate * (updated - ema[i]!)
  }
}
