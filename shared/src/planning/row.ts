import { UserError } from '../base/errors.ts'
import { type PredictionType, x0Weights } from '../diffusion/process.ts'
import type { Level } from './levels.ts'
import type { Clamp, Row } from './plan.ts'

/** What every row needs to know: how x_0 is read from the network's output, and how it is bounded. */
export interface X0Options {
  /** What the network was trained to predict. */
  readonly predictionType: PredictionType
  /** Bound of x_0 in every step, 1 as in the published code; null samples unclamped. */
  readonly clamp: Clamp
}

/** The part of a row that makes a sampler; what is left out is 0. */
export type Step = Partial<Pick<Row, 'a' | 'b' | 'c' | 'd' | 'e'>>

/** A row that asks the network at `from` and leads to `to`. */
export function rowOf(from: Level, to: Level, { predictionType, clamp }: X0Options, step: Step): Row {
  if (from.alphaBar === 0 && predictionType === 'epsilon') {
    throw new UserError(
      `At timestep ${from.t} of this schedule nothing is left of the picture (zero terminal SNR), and the noise alone ` +
        'does not tell x0: a network that predicts epsilon cannot start there. Use one that predicts v or x0.',
    )
  }
  const [p, q] = x0Weights(predictionType, from.alphaBar)
  const { a = 0, b = 0, c = [], d = 0, e = 0 } = step
  return { t: from.t, alphaBar: from.alphaBar, alphaBarNext: to.alphaBar, p, q, clamp, a, b, c, d, e }
}

/** The steps between levels: each with the level after it. */
export function stepsBetween(levels: readonly Level[]): { from: Level; to: Level; index: number }[] {
  return levels.slice(0, -1).map((from, index) => ({ from, to: levels[index + 1]!, index }))
}
