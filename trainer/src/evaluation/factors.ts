import { domains, uniforms } from '@ddpm/shared'
import { side, type ToyShape } from '../data/shapes/dataset.ts'
import { parseShape } from '../data/shapes/parser.ts'

/** Images of the built-in `shapes` dataset, parsed back to their factors. */
export interface ParsedShapes {
  readonly shapes: readonly ToyShape[]
  /** For each reason: the number of images in which the parser did not recognize exactly one figure of the dataset. */
  readonly rejected: Readonly<Record<string, number>>
}

/** Number of generated images that show exactly one figure of the dataset, and the distribution of their factors. */
export interface ShapeStatistics {
  readonly valid: number
  readonly rejected: Readonly<Record<string, number>>
  readonly factors: readonly FactorDistance[]
}

/** Compares parsed generated images with parsed images of the dataset. */
export function shapeStatistics(real: ParsedShapes, generated: ParsedShapes, seed: number): ShapeStatistics {
  const { shapes, rejected } = generated
  const factors = shapes.length === 0 ? [] : factorDistances(real.shapes, shapes, seed)
  return { valid: shapes.length, rejected, factors }
}

const size = 3 * side * side

/**
 * Parses images of the built-in dataset.
 * @param pixels [count, 3, 32, 32], bytes
 */
export async function parseShapes(
  pixels: Uint8Array,
  onProgress: (done: number, total: number) => Promise<void> | void = () => {},
): Promise<ParsedShapes> {
  const shapes: ToyShape[] = []
  const rejected: Record<string, number> = {}
  const count = pixels.length / size
  for (let i = 0; i < count; i++) {
    const result = parseShape(pixels.subarray(i * size, (i + 1) * size))
    if (result.shape === null) {
      // Removes the names of figures and the numbers in the reason, so that equal reasons are counted together.
      const reason = result.reason.replace(/;.*| a \w+ and a \w+/, '')
      rejected[reason] = (rejected[reason] ?? 0) + 1
    } else {
      shapes.push(result.shape)
    }
    if (i % 50 === 49) await onProgress(i + 1, count)
  }
  return { shapes, rejected }
}

/** Factors of a figure: names, or numbers. */
const factors = {
  figure: ({ figure }) => figure,
  colour: ({ colour }) => colour,
  'figure and colour': ({ figure, colour }) => `${colour} ${figure}`,
  x: ({ x }) => x,
  y: ({ y }) => y,
  radius: ({ radius }) => radius,
} as const satisfies Record<string, (shape: ToyShape) => string | number>
export type Factor = keyof typeof factors

/** How the distribution of a factor differs from the dataset's. */
export interface FactorDistance {
  readonly factor: Factor
  /** Total variation ½Σ|p − q| over the factor's cells: 0 for equal, 1 for disjoint distributions. */
  readonly distance: number
  /** Mean distance between two samples of the dataset of the same sizes: the part due to chance. */
  readonly chance: number
}

const replicates = 100

/** Computes how the distribution of every factor of generated figures differs from the dataset's. */
export function factorDistances(
  data: readonly ToyShape[],
  generated: readonly ToyShape[],
  seed: number,
): FactorDistance[] {
  return (Object.keys(factors) as Factor[]).map((factor) => {
    const cells = assignCells(factor, data, generated)
    const expected = countCells(cells.data, cells.count)
    // Both counts are from finite samples. Two resamples of the dataset with these sizes differ only by chance.
    const resample = (count: number, image: number, step: number) => {
      const u = uniforms(seed, { domain: domains.bootstrap, image, step }, count)
      return countCells(
        Array.from(u, (value) => cells.data[Math.floor(value * data.length)]!),
        cells.count,
      )
    }
    let chance = 0
    for (let step = 0; step < replicates; step++) {
      chance +=
        totalVariation(resample(generated.length, 3, step), resample(data.length, 4, step)) / replicates
    }
    return { factor, distance: totalVariation(countCells(cells.generated, cells.count), expected), chance }
  })
}

/** Number of cells that divide the range of a numeric factor. */
const bins = 10

/** Assigns the values of both sets to the same cells: one per name, or tenths of the dataset's numeric range. */
function assignCells(
  factor: Factor,
  data: readonly ToyShape[],
  generated: readonly ToyShape[],
): { data: number[]; generated: number[]; count: number } {
  const factorValue: (shape: ToyShape) => string | number = factors[factor]
  const values = data.map(factorValue)
  if (typeof values[0] === 'string') {
    const names = [...new Set([...values, ...generated.map(factorValue)])]
    const cell = (shape: ToyShape) => names.indexOf(factorValue(shape))
    return { data: data.map(cell), generated: generated.map(cell), count: names.length }
  }
  const numbers = values as number[]
  const low = numbers.reduce((a, b) => Math.min(a, b))
  const high = numbers.reduce((a, b) => Math.max(a, b))
  // Values below and above the dataset's range have a cell each.
  const cell = (shape: ToyShape) => {
    const value = factorValue(shape) as number
    if (value < low) return 0
    if (value > high) return bins + 1
    return 1 + Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins))
  }
  return { data: data.map(cell), generated: generated.map(cell), count: bins + 2 }
}

function countCells(cells: readonly number[], count: number): number[] {
  const counts = new Array<number>(count).fill(0)
  for (const cell of cells) counts[cell]! += 1
  return counts
}

/** Computes the total variation ½Σ|p − q| of two vectors of counts. */
export function totalVariation(a: readonly number[], b: readonly number[]): number {
  const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0)
  const [totalA, totalB] = [total(a), total(b)]
  return a.reduce((sum, count, i) => sum + Math.abs(count / totalA - b[i]! / totalB), 0) / 2
}
