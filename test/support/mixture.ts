import type { Level } from '@ddpm/shared'

/** A part of a mixture of normal distributions on the line. */
export interface Part {
  readonly weight: number
  readonly mean: number
  readonly deviation: number
}

/**
 * What training strives for, in closed form: E[x_0 | x] at a noise level, where x_0 is drawn from a mixture of normal
 * distributions. Given its part, x_0 and x are jointly normal; the parts are weighed by how likely they made x.
 */
export function optimalX0(parts: readonly Part[], x: number, alphaBar: number): number {
  const alpha = Math.sqrt(alphaBar)
  let [total, sum] = [0, 0]
  const noisy = noisyParts(parts, alphaBar)
  const distances = noisy.map(({ mean, deviation }) => -0.5 * ((x - mean) / deviation) ** 2)
  const nearest = Math.max(...distances)
  parts.forEach((part, k) => {
    const { mean, deviation } = noisy[k]!
    const likelihood = (part.weight / deviation) * Math.exp(distances[k]! - nearest)
    total += likelihood
    sum += likelihood * (part.mean + ((alpha * part.deviation ** 2) / deviation ** 2) * (x - mean))
  })
  return sum / total
}

/** The distribution of x at a noise level: each part is scaled by √ᾱ and widened by 1 − ᾱ. */
function noisyParts(parts: readonly Part[], alphaBar: number): Part[] {
  return parts.map(({ weight, mean, deviation }) => ({
    weight,
    mean: Math.sqrt(alphaBar) * mean,
    deviation: Math.sqrt(alphaBar * deviation ** 2 + 1 - alphaBar),
  }))
}

/**
 * The exact solution of the probability-flow ODE from one noise level to another: on the line it moves every point so
 * that as much probability stays to its left.
 */
export function exactFlow(parts: readonly Part[], x: number, from: number, to: number): number {
  const target = distribution(noisyParts(parts, from), x)
  const there = noisyParts(parts, to)
  let [low, high] = [-60, 60]
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2
    if (distribution(there, middle) < target) low = middle
    else high = middle
  }
  return (low + high) / 2
}

function distribution(parts: readonly Part[], x: number): number {
  return parts.reduce((sum, { weight, mean, deviation }) => sum + weight * normal((x - mean) / deviation), 0)
}

/** Φ(x) = ½ + φ(x)·(x + x³/3 + x⁵/(3·5) + …), Abramowitz & Stegun 26.2.11: all digits for |x| up to 7 or so. */
function normal(x: number): number {
  if (Math.abs(x) > 9) return x > 0 ? 1 : 0
  let term = x
  let sum = x
  for (let k = 1; Math.abs(term) > 1e-18 * Math.abs(sum); k++) {
    term *= x ** 2 / (2 * k + 1)
    sum += term
  }
  return 0.5 + (Math.exp(-(x ** 2) / 2) / Math.sqrt(2 * Math.PI)) * sum
}

/** Levels evenly spaced in λ between two finite ends; each one's timestep is its place, so that a network knows it. */
export function lambdaLevels(from: number, to: number, steps: number): Level[] {
  return Array.from({ length: steps + 1 }, (_, t) => {
    const lambda = from + ((to - from) * t) / steps
    return { t, alphaBar: 1 / (1 + Math.exp(-2 * lambda)) }
  })
}
