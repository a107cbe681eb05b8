import { domains, quantile, uniforms } from '@ddpm/shared'

/**
 * Computes bootstrap resamples (Efron 1979) as weights: how often each of `count` images is selected if `count`
 * images are selected at random with replacement. The weights are a function of the seed, the set and the replicate.
 * @param set index of the set of images: sets are resampled independently
 * @returns one weight vector [count] per replicate
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

/** Returns half the width of the 95 % percentile interval of bootstrap replicates. */
export function halfWidth(replicates: ArrayLike<number>): number {
  return (quantile(replicates, 0.975) - quantile(replicates, 0.025)) / 2
}
