import { domains, fillNormals, uniforms } from '@ddpm/shared/random'

export const shapes = ['Two moons', 'Spiral', 'Ring of blobs'] as const
export type Shape = (typeof shapes)[number]

const count = 600

/**
 * Generates the points of a shape. They are the same in every visit.
 * @returns [600, 2], in the square [−1.5, 1.5]²
 */
export function createShape(shape: Shape): Float32Array {
  const { place, deviation } = definitions[shape]
  const position = uniforms(0, { domain: domains.shapes, image: 0, step: 0 }, count)
  const points = jitter(1, count, deviation)
  for (let i = 0; i < count; i++) {
    const [x, y] = place(i, position[i]!)
    points[2 * i]! += x
    points[2 * i + 1]! += y
  }
  return points
}

/**
 * Returns normal numbers.
 * @returns [count, 2]
 */
export function jitter(seed: number, count: number, deviation: number): Float32Array {
  const normals = new Float32Array(2 * count)
  fillNormals(seed, { domain: domains.shapes, image: 0, step: 0 }, normals)
  return normals.map((value) => value * deviation)
}

/**
 * Returns the mean distance from each sample to the nearest point.
 * @param samples [count, 2]
 * @param points [any, 2], at least one point
 */
export function meanDistance(samples: Float32Array, points: Float32Array): number {
  let sum = 0
  for (let i = 0; i < samples.length; i += 2) {
    let nearest = Number.POSITIVE_INFINITY
    for (let j = 0; j < points.length; j += 2) {
      nearest = Math.min(nearest, Math.hypot(samples[i]! - points[j]!, samples[i + 1]! - points[j + 1]!))
    }
    sum += nearest
  }
  return sum / (samples.length / 2)
}

interface Definition {
  /** Returns a point of the shape without jitter, for a point's index and a random number in (0, 1). */
  readonly place: (index: number, u: number) => readonly [x: number, y: number]
  /** Standard deviation of the jitter. */
  readonly deviation: number
}

const definitions: Record<Shape, Definition> = {
  'Two moons': {
    place(index, u) {
      const [x, y] = [Math.cos(Math.PI * u), Math.sin(Math.PI * u)]
      return index % 2 === 0 ? [0.85 * (x - 0.5), 0.85 * (y - 0.25)] : [0.85 * (0.5 - x), 0.85 * (0.25 - y)]
    },
    deviation: 0.05,
  },
  Spiral: {
    place(_, u) {
      // The square root spreads the points evenly along the spiral.
      const angle = 3 * Math.PI * Math.sqrt(u)
      const radius = 0.1 + 1.1 * Math.sqrt(u)
      return [radius * Math.cos(angle), radius * Math.sin(angle)]
    },
    deviation: 0.04,
  },
  'Ring of blobs': {
    place(index) {
      const angle = (2 * Math.PI * (index % 8)) / 8
      return [1.1 * Math.cos(angle), 1.1 * Math.sin(angle)]
    },
    deviation: 0.08,
  },
}
