import { type Features, squaredDistance } from './features.ts'

/** Contribution of each image: the mean over the images is the metric of that name. */
export interface ManifoldMeasures {
  /** [generated] 1 if the image is in the manifold of the real images, else 0 (Kynkäänniemi et al. 2019, eq. 2). */
  readonly precision: Float64Array
  /** [real] 1 if the image is in the manifold of the generated images, else 0. */
  readonly recall: Float64Array
  /** [generated] number of real images whose neighbourhood contains it, divided by k (Naeem et al. 2020, eq. 2). */
  readonly density: Float64Array
  /** [real] 1 if its neighbourhood contains a generated image, else 0 (Naeem et al. 2020, eq. 3). */
  readonly coverage: Float64Array
}

/**
 * Computes precision, recall, density and coverage. The manifold of a set is the union of balls around its images. The
 * radius of a ball is the distance to the k-th nearest neighbour in the set.
 * @param k less than the number of images of either set
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

/** Computes the squared distance of each image to its k-th nearest neighbour. */
function squaredRadii(features: Features, k: number): Float64Array {
  /** The k smallest distances of each row so far, ascending. */
  const nearest = Array.from({ length: features.count }, () => new Float64Array(k).fill(Infinity))
  const insert = (smallest: Float64Array, distance: number) => {
    if (distance >= smallest[k - 1]!) return
    let at = k - 1
    for (; at > 0 && smallest[at - 1]! > distance; at--) smallest[at] = smallest[at - 1]!
    smallest[at] = distance
  }
  for (let i = 0; i < features.count; i++) {
    for (let j = 0; j < i; j++) {
      const distance = squaredDistance(features, i, features, j)
      insert(nearest[i]!, distance)
      insert(nearest[j]!, distance)
    }
  }
  return Float64Array.from(nearest, (smallest) => smallest[k - 1]!)
}
