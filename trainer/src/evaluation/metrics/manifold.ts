import { type Features, squaredDistance } from './features.ts'

/** For each picture, what the mean of which over the pictures is the measure of that name. */
export interface ManifoldMeasures {
  /** [generated] 1 where a picture lies among the real ones, else 0 (Kynkäänniemi et al. 2019, eq. 2). */
  readonly precision: Float64Array
  /** [real] 1 where it lies among the generated ones, else 0. */
  readonly recall: Float64Array
  /** [generated] in how many of the real ones' neighbourhoods it lies, divided by k (Naeem et al. 2020, eq. 2). */
  readonly density: Float64Array
  /** [real] 1 where its own neighbourhood holds a generated picture, else 0 (Naeem et al. 2020, eq. 3). */
  readonly coverage: Float64Array
}

/** Of each picture the squared distance to its k-th nearest other one. */
function squaredRadii(features: Features, k: number): Float64Array {
  /** The k smallest so far of each row, rising. */
  const nearest = Array.from({ length: features.count }, () => new Float64Array(k).fill(Infinity))
  const insert = (kept: Float64Array, distance: number) => {
    if (distance >= kept[k - 1]!) return
    let at = k - 1
    for (; at > 0 && kept[at - 1]! > distance; at--) kept[at] = kept[at - 1]!
    kept[at] = distance
  }
  for (let i = 0; i < features.count; i++) {
    for (let j = 0; j < i; j++) {
      const distance = squaredDistance(features, i, features, j)
      insert(nearest[i]!, distance)
      insert(nearest[j]!, distance)
    }
  }
  return Float64Array.from(nearest, (kept) => kept[k - 1]!)
}

/**
 * Precision, recall, density and coverage. A set's manifold is the union of balls around its pictures that reach to
 * their k-th nearest neighbour in the set.
 * @param k less than the number of pictures of either set
 */
export function manifoldMeasures(real: Features, generated: Features, k: number): ManifoldMeasures {
  const realRadii = squaredRadii(real, k)
  const generatedRadii = squaredRadii(generated, k)
  const measures = {
    precision: new Float64Array(generated.count),
    recall: new Float64Array(real.count),
    density: new Float64Array(generated.count),
    coverage: new Float64Array(real.count),
  }
  for (let i = 0; i < real.count; i++) {
    for (let j = 0; j < generated.count; j++) {
      const distance = squaredDistance(real, i, generated, j)
      if (distance <= realRadii[i]!) {
        measures.precision[j] = 1
        measures.density[j]! += 1 / k
        measures.coverage[i] = 1
      }
      if (distance <= generatedRadii[j]!) measures.recall[i] = 1
    }
  }
  return measures
}
