import {
  type BoundOptions,
  boundTerm,
  domains,
  fillNormals,
  type Network,
  priorTerm,
  qSample,
  randomPermutation,
  type Schedule,
  uniforms,
} from '@ddpm/shared'
import { type Dataset, writeImage } from '../data/dataset/dataset.ts'

/** Measurements so far, as plain numbers for JSON. */
export interface BoundState {
  /** Total bound of each measured image: L_T, L_0 and the estimated sum of the terms between them. */
  readonly totals: number[]
  /** Sum of L_T over the measured images. */
  prior: number
  /** Sum of the evaluated terms of each timestep, and their number. */
  readonly termSums: number[]
  readonly termCounts: number[]
}

export function emptyBound(timesteps: number): BoundState {
  const zeros = () => new Array<number>(timesteps).fill(0)
  return { totals: [], prior: 0, termSums: zeros(), termCounts: zeros() }
}

export interface BoundRequest extends BoundOptions {
  readonly schedule: Schedule
  readonly network: Network
  readonly dataset: Dataset
  /** [count] label of each image; null if the model has no classes. */
  readonly labels: ArrayLike<number> | null
  /** Number of images, selected at random by the seed. A smaller number selects the first ones of a larger number. */
  readonly images: number
  /** Number of timesteps evaluated per image, one in each stratum. T computes the exact sum. */
  readonly terms: number
  readonly seed: number
}

/** Max evaluations of the model per call. */
const batch = 64

/**
 * Measures the bound image by image and adds the results to `state`, from which a stopped measurement resumes. The noise
 * of an image at a timestep is a function of the seed, the image and the timestep.
 * @param onProgress receives the number of images after each group; returns true to stop
 */
export async function measureBound(
  request: BoundRequest,
  state: BoundState,
  onProgress: (done: number) => Promise<boolean> | boolean,
): Promise<void> {
  const { dataset, schedule, seed, terms, images } = request
  const size = dataset.channels * dataset.height * dataset.width
  const order = randomPermutation(seed, { domain: domains.selection, image: 0, step: 0 }, dataset.count)
  const strata = splitIntoStrata(schedule.timesteps, terms)
  const imagesPerCall = Math.max(1, Math.floor(batch / terms))

  while (state.totals.length < images) {
    const chosen = order.subarray(state.totals.length, Math.min(state.totals.length + imagesPerCall, images))
    const x0s = Array.from(chosen, (index) => {
      const x0 = new Float32Array(size)
      writeImage(dataset, index, x0, 0, false)
      return x0
    })
    const rows = Array.from(chosen).flatMap((index, i) => {
      const u = uniforms(seed, { domain: domains.likelihoodTimestep, image: index, step: 0 }, terms)
      return strata.map(({ start, end }, k) => ({
        i,
        index,
        t: start + Math.floor(u[k]! * (end - start)),
        weight: end - start,
      }))
    })
    const totals = x0s.map((x0) => priorTerm(schedule, x0))
    state.prior += totals.reduce((sum, bits) => sum + bits, 0)
    for (let from = 0; from < rows.length; from += batch) {
      const evaluated = rows.slice(from, from + batch)
      const bits = await evaluateTerms(request, evaluated, x0s)
      evaluated.forEach(({ i, t, weight }, k) => {
        totals[i]! += weight * bits[k]!
        state.termSums[t]! += bits[k]!
        state.termCounts[t]! += 1
      })
    }
    state.totals.push(...totals)
    if (await onProgress(state.totals.length)) return
  }
}

/** A range of consecutive timesteps. One of them is evaluated. `end` is exclusive. */
export interface Stratum {
  readonly start: number
  readonly end: number
}

/**
 * Splits the timesteps into strata. The first one is timestep 0 alone, whose term is L_0. The widths of the others grow
 * by a constant factor: the terms decrease like a power of t, so every stratum contributes a similar part of their sum.
 * @param count number of strata, 2 to `timesteps`; with `timesteps` strata, each contains one timestep
 */
export function splitIntoStrata(timesteps: number, count: number): Stratum[] {
  const strata: Stratum[] = [{ start: 0, end: 1 }]
  for (let start = 1, k = 1; k < count; k++) {
    const geometric = Math.round(timesteps ** (k / (count - 1)))
    // This stratum has at least one timestep, and leaves at least one for each of the following strata.
    const end = Math.min(Math.max(geometric, start + 1), timesteps - (count - 1 - k))
    strata.push({ start, end })
    start = end
  }
  return strata
}

/** Evaluates the bound's terms at some images and timesteps, in one call of the network. @returns bits/dim */
async function evaluateTerms(
  request: BoundRequest,
  rows: readonly { readonly i: number; readonly index: number; readonly t: number }[],
  x0s: readonly Float32Array[],
): Promise<number[]> {
  const { schedule, network, labels, seed } = request
  const size = x0s[0]!.length
  const noise = new Float32Array(size)
  const xts = rows.map(({ i, index, t }) => {
    fillNormals(seed, { domain: domains.likelihood, image: index, step: t }, noise)
    return qSample(schedule.alphasCumprod[t]!, x0s[i]!, noise)
  })
  const x = new Float32Array(rows.length * size)
  for (const [k, xt] of xts.entries()) x.set(xt, k * size)
  const output = await network(
    x,
    Float32Array.from(rows, ({ t }) => t),
    labels && Float32Array.from(rows, ({ index }) => labels[index]!),
  )
  const width = output.length / rows.length
  return rows.map(({ i, t }, k) =>
    boundTerm(schedule, request, t, x0s[i]!, xts[k]!, output.subarray(k * width, (k + 1) * width)),
  )
}

/** Mean in bits per dimension, and its standard error over the images; null for a single image. */
export interface BitsPerDim {
  readonly mean: number
  readonly standardError: number | null
}

export interface BoundSummary {
  readonly images: number
  readonly total: BitsPerDim
  /** Means of L_T and L_0, and of the sum of all terms between them. */
  readonly prior: number
  readonly reconstruction: number
  readonly diffusion: number
  /** Mean of L_t at each timestep; null if none was evaluated. */
  readonly terms: readonly (number | null)[]
}

/** Computes the means over the images measured so far. */
export function summarizeBound({ totals, prior, termSums, termCounts }: BoundState): BoundSummary {
  const images = totals.length
  const mean = totals.reduce((sum, bits) => sum + bits, 0) / images
  const variance = totals.reduce((sum, bits) => sum + (bits - mean) ** 2, 0) / (images - 1)
  const terms = termSums.map((sum, t) => (termCounts[t]! > 0 ? sum / termCounts[t]! : null))
  // Timestep 0 is its own stratum, so its term is always evaluated.
  const reconstruction = terms[0]!
  return {
    images,
    total: { mean, standardError: images > 1 ? Math.sqrt(variance / images) : null },
    prior: prior / images,
    reconstruction,
    diffusion: mean - prior / images - reconstruction,
    terms,
  }
}
