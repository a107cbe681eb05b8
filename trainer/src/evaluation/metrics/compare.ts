import { halfWidth, resamplings } from './bootstrap.ts'
import { type Features, firstRows } from './features.ts'
import { frechetDistance, momentsOf } from './frechet.ts'
import { kernelDistances } from './kernel.ts'
import { manifoldMeasures } from './manifold.ts'

/** A metric and its error bar: half the width of the bootstrap's 95 % interval; null without a bootstrap. */
export interface Score {
  readonly value: number
  readonly halfWidth: number | null
}

export const scoreNames = ['fid', 'kid', 'precision', 'recall', 'density', 'coverage'] as const
export type Scores = Readonly<Record<(typeof scoreNames)[number], Score>>

export interface CompareOptions {
  /** k of precision, recall, density and coverage. Default: 5, as in Naeem et al. 2020. */
  readonly neighbours: number
  /** Number of bootstrap replicates; 0 omits the error bars. */
  readonly replicates: number
  readonly seed: number
}

export const compareDefaults: CompareOptions = { neighbours: 5, replicates: 100, seed: 0 }

/**
 * Compares generated images with real ones by their features. Fréchet and kernel distance use all images. The other four
 * metrics depend on the ratio of the two counts, so they use equally many images: the first ones of both sets.
 */
export function compare(
  real: Features,
  generated: Features,
  { neighbours, replicates, seed }: CompareOptions = compareDefaults,
): Scores {
  const ofReal = resamplings(real.count, replicates, { seed, set: 0 })
  const ofGenerated = resamplings(generated.count, replicates, { seed, set: 1 })

  const fid = frechetDistance(momentsOf(real), momentsOf(generated))
  const fids = ofReal.map((weights, r) =>
    frechetDistance(momentsOf(real, weights), momentsOf(generated, ofGenerated[r])),
  )

  const unweighted = { a: new Float64Array(real.count).fill(1), b: new Float64Array(generated.count).fill(1) }
  const [kid, ...kids] = kernelDistances(real, generated, [
    unweighted,
    ...ofReal.map((a, r) => ({ a, b: ofGenerated[r]! })),
  ])

  const count = Math.min(real.count, generated.count)
  const measures = manifoldMeasures(firstRows(real, count), firstRows(generated, count), neighbours)
  // Resampling the sets would duplicate images, and duplicates shrink the neighbourhoods. So the manifolds stay as they
  // are, and only the averages over images are resampled.
  const means = resamplings(count, replicates, { seed, set: 2 })
  const withErrorBar = (value: number, replicateValues: ArrayLike<number>): Score => ({
    value,
    halfWidth: replicates > 0 ? halfWidth(replicateValues) : null,
  })
  const meanScore = (values: Float64Array) =>
    withErrorBar(
      values.reduce((sum, value) => sum + value, 0) / count,
      means.map((weights) => weights.reduce((sum, weight, i) => sum + weight * values[i]!, 0) / count),
    )
  return {
    fid: withErrorBar(fid, fids),
    kid: withErrorBar(kid!, kids),
    precision: meanScore(measures.precision),
    recall: meanScore(measures.recall),
    density: meanScore(measures.density),
    coverage: meanScore(measures.coverage),
  }
}
