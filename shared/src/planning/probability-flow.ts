import { type Level, sigmaOf } from './levels.ts'
import type { Row } from './plan.ts'
import { createRow, stepsBetween, type X0Options } from './row.ts'

/**
 * Plans Euler's method for the probability-flow ODE dx̂/dσ = (x̂ − x_0)/σ of x̂ = x/√ᾱ (EDM eq. 1 and 3, algorithm 1
 * without the correction). For the same noise levels its rows equal those of DDIM with η = 0.
 */
export function euler(levels: readonly Level[], options: X0Options): Row[] {
  return stepsBetween(levels).map(({ from, to }) => eulerRow(from, to, options))
}

function eulerRow(from: Level, to: Level, options: X0Options): Row {
  return createRow(from, to, options, {
    a: Math.sqrt((1 - to.alphaBar) / (1 - from.alphaBar)),
    b: Math.sqrt(to.alphaBar) * (1 - sigmaOf(to.alphaBar) / sigmaOf(from.alphaBar)),
  })
}

/**
 * Plans Heun's method for the same ODE (EDM algorithm 1): two rows per interval, or one if the interval ends at σ = 0. Let
 * x̂' be the result of the Euler step from σ to σ', and x_0' the prediction there. The corrected result is
 * x̂' + ½(σ/σ' − 1)(x_0' − x_0).
 */
export function heun(levels: readonly Level[], options: X0Options): Row[] {
  return stepsBetween(levels).flatMap(({ from, to }) => {
    const first = eulerRow(from, to, options)
    if (to.alphaBar === 1) return [first]
    const b = (Math.sqrt(to.alphaBar) * (sigmaOf(from.alphaBar) / sigmaOf(to.alphaBar) - 1)) / 2
    return [first, createRow(to, to, options, { a: 1, b, c: [-b] })]
  })
}
