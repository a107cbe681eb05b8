import { type Features, squaredDistance } from './features.ts'

export interface Neighbour {
  readonly index: number
  /** Euclidean. */
  readonly distance: number
}

/** For each row of `asked` the nearest row of `among`. */
export function nearestRows(asked: Features, among: Features): Neighbour[] {
  return Array.from({ length: asked.count }, (_, i) => {
    let [index, least] = [0, Infinity]
    for (let j = 0; j < among.count; j++) {
      const distance = squaredDistance(asked, i, among, j)
      if (distance < least) [index, least] = [j, distance]
    }
    return { index, distance: Math.sqrt(least) }
  })
}
