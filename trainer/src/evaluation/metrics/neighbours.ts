import { type Features, squaredDistance } from './features.ts'

export interface Neighbour {
  readonly index: number
  /** Euclidean distance. */
  readonly distance: number
}

/** Finds the nearest row of `candidates` for each row of `queries`. */
export function nearestRows(queries: Features, candidates: Features): Neighbour[] {
  return Array.from({ length: queries.count }, (_, i) => {
    let [index, min] = [0, Infinity]
    for (let j = 0; j < candidates.count; j++) {
      const distance = squaredDistance(queries, i, candidates, j)
      if (distance < min) [index, min] = [j, distance]
    }
    return { index, distance: Math.sqrt(min) }
  })
}
