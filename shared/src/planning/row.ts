import { UserError } from '../base/errors.ts'
import { type PredictionType, x0Weights } from '../diffusion/process.ts'
import type { Level } from './levels.ts'
import type { Clamp, Row } from './plan.ts'

/** Options of every row: how x_0 is computed from the model's output. */
export interface X0Options {
  /** What the model was trained to predict. */
  readonly predictionType: PredictionType
  /** Clamping of x_0 in every step: 1 in the published code, null for none. */
  readonly clamp: Clamp
}

/** The coefficients that differ between samplers. Missing coefficients are 0. */
export type Step = Partial<Pick<Row, 'a' | 'b' | 'c' | 'd' | 'e'>>

/**
 * Creates the row that evaluates the model at `from` and leads to `to`.
 * @throws UserError if the model predicts ε and x is pure noise (ᾱ = 0)
 */
export function createRow(from: Level, to: Level, { predictionType, clamp }: X0Options, step: Step): Row {
  if (from.alphaBar === 0 && predictionType === 'epsilon') {
    throw new UserError(
      `Invalid prediction type epsilon: at timestep ${from.t} x is pure noise (zero terminal SNR), so x0 cannot be ` +
        'computed from the predicted noise. Use a model that predicts v or x0.',
    )
  }
  const [p, q] = x0Weights(predictionType, from.alphaBar)
  const { a = 0, b = 0, c = [], d = 0, e = 0 } = step
  return { t: from.t, alphaBar: from.alphaBar, alphaBarNext: to.alphaBar, p, q, clamp, a, b, c, d, e }
}

/** Returns the steps between adjacent levels. */
export function stepsBetween(levels: readonly Level[]): { from: Level; to: Level; index: number }[] {
  return levels.slice(0, -1).map((from, index) => ({ from, to: levels[index + 1]!, index }))
}
