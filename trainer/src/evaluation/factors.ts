import { domains, uniforms } from '@ddpm/shared'
import { side, type ToyShape } from '../data/shapes/dataset.ts'
import { parseShape } from '../data/shapes/parser.ts'

/** What pictures of the built-in set read as. */
export interface Readings {
  readonly shapes: readonly ToyShape[]
  /** Why the others read as no figure of the set, and how many of them. */
  readonly rejected: Readonly<Record<string, number>>
}

const size = 3 * side * side

/**
 * Reads pictures of the built-in set.
 * @param pixels [count, 3, 32, 32], bytes
 */
export async function readShapes(
  pixels: Uint8Array,
  onProgress: (done: number, total: number) => Promise<void> | void = () => {},
): Promise<Readings> {
  const shapes: ToyShape[] = []
  const rejected: Record<string, number> = {}
  const count = pixels.length / size
  for (let i = 0; i < count; i++) {
    const reading = parseShape(pixels.subarray(i * size, (i + 1) * size))
    if (reading.shape === null) {
      // Reasons name figures and numbers in places: the same reason is one without them.
      const reason = reading.reason.replace(/;.*| a \w+ and a \w+/, '')
      rejected[reason] = (rejected[reason] ?? 0) + 1
    } else {
      shapes.push(reading.shape)
    }
    if (i % 50 === 49) await onProgress(i + 1, count)
  }
  return { shapes, rejected }
}

/** Cells into which a factor's values are sorted: names, or tenths of the range that the data has. */
const factors = {
  figure: ({ figure }) => figure,
  colour: ({ colour }) => colour,
  'figure and colour': ({ figure, colour }) => `${colour} ${figure}`,
  x: ({ x }) => x,
  y: ({ y }) => y,
  radius: ({ radius }) => radius,
} as const satisfies Record<string, (shape: ToyShape) => string | number>
export type Factor = keyof typeof factors
const bins = 10

/** How a factor is distributed against the data's. */
export interface FactorDistance {
  readonly factor: Factor
  /** Total variation ½Σ|p − q| over the factor's cells: 0 alike, 1 disjoint. */
  readonly distance: number
  /** The mean distance of two samples of the data itself, of as many pictures as either: what chance alone makes. */
  readonly chance: number
}

/** ½Σ|p − q| of two counts over cells. */
export function totalVariation(a: readonly number[], b: readonly number[]): number {
  const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0)
  const [totalA, totalB] = [total(a), total(b)]
  return a.reduce((sum, count, i) => sum + Math.abs(count / totalA - b[i]! / totalB), 0) / 2
}

function countsOf(cells: readonly number[], count: number): number[] {
  const counts = new Array<number>(count).fill(0)
  for (const cell of cells) counts[cell]! += 1
  return counts
}

/** Sorts the values of both sets into the same cells. */
function cellsOf(
  factor: Factor,
  data: readonly ToyShape[],
  drawn: readonly ToyShape[],
): { data: number[]; drawn: number[]; count: number } {
  const read: (shape: ToyShape) => string | number = factors[factor]
  const values = data.map(read)
  if (typeof values[0] === 'string') {
    const names = [...new Set([...values, ...drawn.map(read)])]
    const cell = (shape: ToyShape) => names.indexOf(read(shape))
    return { data: data.map(cell), drawn: drawn.map(cell), count: names.length }
  }
  const numbers = values as number[]
  const low = numbers.reduce((a, b) => Math.min(a, b))
  const high = numbers.reduce((a, b) => Math.max(a, b))
  // What lies outside the data's range has a cell on either side.
  const cell = (shape: ToyShape) => {
    const value = read(shape) as number
    if (value < low) return 0
    if (value > high) return bins + 1
    return 1 + Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins))
  }
  return { data: data.map(cell), drawn: drawn.map(cell), count: bins + 2 }
}

const replicates = 100

/** How each factor of drawn figures is distributed against the data's. */
export function factorDistances(
  data: readonly ToyShape[],
  drawn: readonly ToyShape[],
  seed: number,
): FactorDistance[] {
  return (Object.keys(factors) as Factor[]).map((factor) => {
    const cells = cellsOf(factor, data, drawn)
    const expected = countsOf(cells.data, cells.count)
    // Both counts are samples: two draws from the data, as many of each, differ as two such samples do.
    const resampled = (count: number, image: number, step: number) => {
      const u = uniforms(seed, { domain: domains.bootstrap, image, step }, count)
      return countsOf(
        Array.from(u, (value) => cells.data[Math.floor(value * data.length)]!),
        cells.count,
      )
    }
    let chance = 0
    for (let step = 0; step < replicates; step++) {
      chance += totalVariation(resampled(drawn.length, 3, step), resampled(data.length, 4, step)) / replicates
    }
    return { factor, distance: totalVariation(countsOf(cells.drawn, cells.count), expected), chance }
  })
}
