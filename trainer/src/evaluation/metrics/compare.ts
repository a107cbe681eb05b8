import { halfWidth, resamplings } from './bootstrap.ts'
import { type Features, firstRows } from './features.ts'
import { frechetDistance, momentsOf } from './frechet.ts'
import { kernelDistances } from './kernel.ts'
import { manifoldMeasures } from './manifold.ts'

/** A figure and its error bar: half the width of the bootstrap's 95 % interval; null without a bootstrap. */
export interface Score {
  readonly value: number
  readonly halfWidth: number | null
}

export const scoreNames = ['fid', 'kid', 'precision', 'recall', 'density', 'coverage'] as const
export type Scores = Readonly<Record<(typeof scoreNames)[number], Score>>

export interface CompareOptions {
  /** k of precision, recall, density and coverage; 5 as in Naeem et al. 2020. */
  readonly neighbours: number
  /** Bootstrap replicates; 0 leaves the error bars out. */
  readonly replicates: number
  readonly seed: number
}

export const compareDefaults: CompareOptions = { neighbours: 5, replicates: 100, seed: 0 }

/**
 * How far generated pictures are from real ones, by features. Fréchet and kernel distance take all pictures; the other
 * four, which depend on the ratio of the two counts, the first ones of both sets, equally many.
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

  const once = { a: new Float64Array(real.count).fill(1), b: new Float64Array(generated.count).fill(1) }
  const [kid, ...kids] = kernelDistances(real, generated, [
    once,
    ...ofReal.map((a, r) => ({ a, b: ofGenerated[r]! })),
  ])

  const equal = Math.min(real.count, generated.count)
  const measures = manifoldMeasures(firstRows(real, equal), firstRows(generated, equal), neighbours)
  // With duplicates in it, a set's neighbourhoods would shrink: the manifolds stay, and who is asked is resampled.
  const means = resamplings(equal, replicates, { seed, set: 2 })
  const scored = (value: number, all: ArrayLike<number>): Score => ({
    value,
    halfWidth: replicates > 0 ? halfWidth(all) : null,
  })
  const scoreOf = (values: Float64Array) =>
    scored(
      values.reduce((sum, value) => sum + value, 0) / equal,
      means.map((weights) => weights.reduce((sum, weight, i) => sum + weight * values[i]!, 0) / equal),
    )
  return {
    fid: scored(fid, fids),
    kid: scored(kid!, kids),
    precision: scoreOf(measures.precision),
    recall: scoreOf(measures.recall),
    density: scoreOf(measures.density),
    coverage: scoreOf(measures.coverage),
  }
}
