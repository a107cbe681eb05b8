import { domains, uniforms } from '@ddpm/shared'
import type { Parsed, Parser } from '../data/built-in.ts'
import { countImages, type Images } from './inputs/images.ts'

/** Images of a built-in set, parsed back to what they show. */
export interface ParsedImages {
  /** The result for each image. */
  readonly images: readonly Parsed[]
  /** For each reason: the number of images that the parser did not recognize. */
  readonly rejected: Readonly<Record<string, number>>
}

type Factors = Readonly<Record<string, string | number>>

/** Number of generated images that could belong to the built-in set, and the distribution of their factors. */
export interface ParsedStatistics {
  readonly valid: number
  readonly rejected: Readonly<Record<string, number>>
  /** Of the valid images, those that show what was requested; null if nothing was. */
  readonly asRequested: number | null
  readonly factors: readonly FactorDistance[]
}

/**
 * Compares parsed generated images with parsed images of the set.
 * @param requested class of each generated image; null if they were generated without classes
 */
export function parsedStatistics(
  real: ParsedImages,
  generated: ParsedImages,
  requested: readonly string[] | null,
  seed: number,
): ParsedStatistics {
  const recognized = recognizedFactors(generated)
  const matches = generated.images.filter(
    (image, i) => image.factors !== null && image.className === requested?.[i],
  )
  return {
    valid: recognized.length,
    rejected: generated.rejected,
    asRequested: requested === null ? null : matches.length,
    factors: recognized.length === 0 ? [] : factorDistances(recognizedFactors(real), recognized, seed),
  }
}

/** Returns the factors of the images that the parser recognized. */
export function recognizedFactors({ images }: ParsedImages): Factors[] {
  return images.flatMap(({ factors }) => (factors === null ? [] : [factors]))
}

/** Parses images of a built-in set. */
export async function parseImages(
  parser: Parser,
  images: Images,
  onProgress: (done: number, total: number) => Promise<void> | void = () => {},
): Promise<ParsedImages> {
  const results: Parsed[] = []
  const rejected: Record<string, number> = {}
  const count = countImages(images)
  const size = images.pixels.length / count
  for (let i = 0; i < count; i++) {
    const result = parser(images.pixels.subarray(i * size, (i + 1) * size))
    results.push(result)
    if (result.factors === null) {
      // Removes the names of figures and the numbers in the reason, so that equal reasons are counted together.
      const reason = result.reason.replace(/;.*| a \w+ and a \w+/, '')
      rejected[reason] = (rejected[reason] ?? 0) + 1
    }
    if (i % 50 === 49) await onProgress(i + 1, count)
  }
  return { images: results, rejected }
}

/** How the distribution of a factor differs from the dataset's. */
export interface FactorDistance {
  readonly factor: string
  /** Total variation ½Σ|p − q| over the factor's cells: 0 for equal, 1 for disjoint distributions. */
  readonly distance: number
  /** Mean distance between two samples of the dataset of the same sizes: the part due to chance. */
  readonly chance: number
}

const replicates = 100

/** Computes how the distribution of every factor of generated images differs from the dataset's. */
export function factorDistances(
  data: readonly Factors[],
  generated: readonly Factors[],
  seed: number,
): FactorDistance[] {
  return Object.keys(data[0]!).map((factor) => {
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
  factor: string,
  data: readonly Factors[],
  generated: readonly Factors[],
): { data: number[]; generated: number[]; count: number } {
  const factorValue = (factors: Factors) => factors[factor]!
  const values = data.map(factorValue)
  if (typeof values[0] === 'string') {
    const names = [...new Set([...values, ...generated.map(factorValue)])]
    const cell = (factors: Factors) => names.indexOf(factorValue(factors))
    return { data: data.map(cell), generated: generated.map(cell), count: names.length }
  }
  const numbers = values as number[]
  const low = numbers.reduce((a, b) => Math.min(a, b))
  const high = numbers.reduce((a, b) => Math.max(a, b))
  // Values below and above the dataset's range have a cell each.
  const cell = (factors: Factors) => {
    const value = factorValue(factors) as number
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
