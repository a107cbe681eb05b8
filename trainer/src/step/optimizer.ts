import type { Ops } from '../algebra/ops.ts'
import { sizeOf } from '../algebra/shape-rules.ts'

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

/**
 * ‖g‖₂ over tensors of any shapes: [1]. The squares come in the order of the tensors, and onnxruntime computes first what
 * the last of them needs: with gradients in the order of the network, each as soon as the backward pass has come to it.
 */
export function norm<T>(ops: Ops<T>, gradients: readonly T[]): T {
  const squares = gradients.map((gradient) => {
    const flat = ops.reshape(gradient, [sizeOf(ops.shape(gradient))])
    return ops.reduceSum(ops.mul(flat, flat), [0])
  })
  return ops.sqrt(ops.reduceSum(ops.concat(squares, 0), [0]))
}

/** min(1, bound/‖g‖): what torch.nn.utils.clip_grad_norm_ multiplies gradients by; 1 where there is no bound. */
export function clipScale(gradientNorm: number, bound: number | null): number {
  return bound === null ? 1 : Math.min(1, bound / (gradientNorm + 1e-6))
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

/**
 * The same step on the numbers themselves, where they lie: one pass, which is faster than a graph of elementwise
 * operations that all go through memory.
 * @param gradientScale what the gradient is multiplied by
 */
export function adamStepInPlace(
  { parameters, firstMoment, secondMoment, ema }: OptimizerState<Float32Array>,
  gradient: Float32Array,
  gradientScale: number,
  { stepSize, rootCorrection, keep, emaRate }: StepScalars<number>,
  { beta1, beta2, eps }: AdamConfig,
): void {
  for (let i = 0; i < gradient.length; i++) {
    const g = gradient[i]! * gradientScale
    const m = firstMoment[i]! + (1 - beta1) * (g - firstMoment[i]!)
    const v = secondMoment[i]! + (1 - beta2) * (g * g - secondMoment[i]!)
    const moved = keep * parameters[i]! - (stepSize * m) / (rootCorrection * Math.sqrt(v) + eps)
    firstMoment[i] = m
    secondMoment[i] = v
    parameters[i] = moved
    ema[i] = ema[i]! + emaRate * (moved - ema[i]!)
  }
}
