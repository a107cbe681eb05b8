import { domains, uniforms } from '@ddpm/shared'

/**
 * Bootstrap samples (Efron 1979) as weights: how often each of `count` pictures is drawn in `count` draws with
 * replacement. A function of the seed, the set and the replicate.
 * @param set tells the pictures that are resampled from others: each set is drawn on its own
 * @returns [replicates] of [count]
 */
export function resamplings(
  count: number,
  replicates: number,
  { seed, set }: { seed: number; set: number },
): Float64Array[] {
  return Array.from({ length: replicates }, (_, step) => {
    const weights = new Float64Array(count)
    for (const u of uniforms(seed, { domain: domains.bootstrap, image: set, step }, count)) {
      weights[Math.floor(u * count)]! += 1
    }
    return weights
  })
}

/** The quantile of a sample, between its order statistics where it falls between two. */
export function quantile(values: ArrayLike<number>, p: number): number {
  const sorted = Float64Array.from(values).sort()
  const position = p * (sorted.length - 1)
  const below = Math.floor(position)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below]! + (position - below) * (sorted[above]! - sorted[below]!)
}

/** Half the width of the interval that holds the middle 95 % of the replicates. */
export function halfWidth(replicates: ArrayLike<number>): number {
  return (quantile(replicates, 0.975) - quantile(replicates, 0.025)) / 2
}
