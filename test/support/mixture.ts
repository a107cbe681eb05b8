import type { Level } from '@ddpm/shared'

/** A component of a mixture of normal distributions on the real line. */
export interface Component {
  readonly weight: number
  readonly mean: number
  readonly deviation: number
}

/**
 * Returns E[x_0 | x] at a noise level for data from a mixture of normal distributions: the output of the optimal model.
 * Within a component x_0 and x are jointly normal. The components are weighted by their likelihoods.
 */
export function optimalX0(components: readonly Component[], x: number, alphaBar: number): number {
  const alpha = Math.sqrt(alphaBar)
  let [total, sum] = [0, 0]
  const noisy = noisyComponents(components, alphaBar)
  const exponents = noisy.map(({ mean, deviation }) => -0.5 * ((x - mean) / deviation) ** 2)
  const max = Math.max(...exponents)
  components.forEach((component, k) => {
    const { mean, deviation } = noisy[k]!
    const likelihood = (component.weight / deviation) * Math.exp(exponents[k]! - max)
    total += likelihood
    sum += likelihood * (component.mean + ((alpha * component.deviation ** 2) / deviation ** 2) * (x - mean))
  })
  return sum / total
}

/** Returns the distribution of x at a noise level: means are multiplied by √ᾱ; variances are multiplied by ᾱ and increased by 1 − ᾱ. */
function noisyComponents(components: readonly Component[], alphaBar: number): Component[] {
  return components.map(({ weight, mean, deviation }) => ({
    weight,
    mean: Math.sqrt(alphaBar) * mean,
    deviation: Math.sqrt(alphaBar * deviation ** 2 + 1 - alphaBar),
  }))
}

/**
 * Solves the probability-flow ODE exactly, from one noise level to another. On the real line the solution preserves the
 * quantile of every point. Bisection finds the point with that quantile.
 */
export function exactFlow(components: readonly Component[], x: number, from: number, to: number): number {
  const target = distribution(noisyComponents(components, from), x)
  const destination = noisyComponents(components, to)
  let [low, high] = [-60, 60]
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2
    if (distribution(destination, middle) < target) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** Returns the distribution function of a mixture. */
function distribution(components: readonly Component[], x: number): number {
  return components.reduce(
    (sum, { weight, mean, deviation }) => sum + weight * normal((x - mean) / deviation),
    0,
  )
}

/**
 * Returns Φ(x) = ½ + φ(x)·(x + x³/3 + x⁵/(3·5) + …), Abramowitz & Stegun 26.2.11: full precision for |x| up to about 7.
 */
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

/**
 * Returns levels evenly spaced in λ, from `from` to `to`. The timestep of each level is its index, so that a model can look
 * up the level.
 */
export function lambdaLevels(from: number, to: number, steps: number): Level[] {
  return Array.from({ length: steps + 1 }, (_, t) => {
    const lambda = from + ((to - from) * t) / steps
    return { t, alphaBar: 1 / (1 + Math.exp(-2 * lambda)) }
  })
}
