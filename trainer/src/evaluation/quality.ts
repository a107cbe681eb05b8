import { join } from 'node:path'
import { countEvaluations, planFor, resolveSampling, type SamplerOptions, UserError } from '@ddpm/shared'
import type { WeightsKind } from '../inference/graph.ts'
import type { OpenedModel } from '../inference/model.ts'
import type { ParsedStatistics } from './factors.ts'
import type { Extractor } from './features/extractor.ts'
import { cacheKey, writeCached } from './inputs/cache.ts'
import type { SampleOptions } from './inputs/generated.ts'
import { type EvaluationSet, type Images, type Split, selectImages } from './inputs/images.ts'
import { compare, type Scores } from './metrics/compare.ts'

/** Result of an evaluation and everything that determines it, as stored in JSON. */
export interface QualityReport {
  /** Absent if the images were read from folders. */
  readonly model?: { readonly description: string; readonly weights: string; readonly digest: string }
  readonly generated: GeneratedByModel | ReadFromFolders
  readonly reference: {
    readonly source: string
    readonly split: Split
    readonly count: number
    readonly of: number
  }
  readonly features: { readonly description: string; readonly dims: number; readonly digest: string }
  /** k of precision, recall, density and coverage. */
  readonly neighbours: number
  /** Number of bootstrap replicates. */
  readonly replicates: number
  readonly scores: Scores
  /** Only for models of a built-in set. */
  readonly parsed?: ParsedStatistics & { readonly clean: string }
}

/** How images were generated: the effective sampler options, resolved from the manifest and the flags, and more. */
export interface GeneratedByModel extends SamplerOptions {
  readonly count: number
  /** Evaluations of the model per image, not counting guidance. */
  readonly evaluations: number
  readonly guidance: number
  readonly className: string | null
  readonly seed: number
}

/** Images of folders. */
export interface ReadFromFolders {
  readonly count: number
  readonly folders: readonly string[]
  /** SHA-256 of the pixels. */
  readonly digest: string
}

export interface QualityRequest {
  /** Where the generated images are from. */
  readonly origin: Pick<QualityReport, 'model' | 'generated'>
  readonly set: EvaluationSet
  readonly extractor: Extractor
  /** Seed of the selection of real images and of the bootstrap. */
  readonly seed: number
  /** Number of real images, selected at random. */
  readonly reference: number
  /** k of precision, recall, density and coverage. */
  readonly neighbours: number
  /** Number of bootstrap replicates. */
  readonly replicates: number
}

/** @throws UserError if there are too few images for k neighbours */
export function checkCounts(count: number, reference: number, neighbours: number): void {
  if (Math.min(count, reference) > neighbours) return
  throw new UserError(
    `Too few images: expected more than ${neighbours} generated and ${neighbours} real images, got ${count} generated ` +
      `and ${reference} real images. Use more images or a smaller --nearest.`,
  )
}

/** Describes how a model generates images. */
export function generatedBy(
  model: OpenedModel,
  weights: WeightsKind,
  sampling: SampleOptions,
  count: number,
): QualityRequest['origin'] {
  const { info, description, digest } = model
  const { seed, className = null, guidance = info.sampling.guidance, ...samplerOptions } = sampling
  const { options } = resolveSampling(info, samplerOptions)
  const evaluations = countEvaluations(planFor(info, samplerOptions))
  return {
    model: { description, weights, digest },
    generated: { ...options, count, evaluations, guidance, className, seed },
  }
}

/** Compares generated images with real ones. */
export async function measureQuality(request: QualityRequest, generated: Images): Promise<QualityReport> {
  const { origin, set, extractor, seed, reference, neighbours, replicates } = request
  const { dataset, source, split } = set
  const real = await extractor.extract(selectImages(dataset, reference, seed))
  const features = await extractor.extract(generated)
  return {
    ...origin,
    reference: { source, split, count: reference, of: dataset.count },
    features: { description: extractor.description, dims: features.dims, digest: extractor.digest },
    neighbours,
    replicates,
    scores: compare(real, features, { neighbours, replicates, seed }),
  }
}

/** Writes a report under a name that depends on its settings. @returns the path */
export function saveReport(folder: string, report: QualityReport): string {
  const { scores, parsed, ...settings } = report
  const path = join(folder, `quality-${cacheKey(settings)}.json`)
  writeCached(path, report)
  return path
}

/** Number of images of a built-in set that the factors of generated images are compared with. */
const realCount = 1000

/** Selects the images of a built-in set that the factors of generated images are compared with. */
export function selectRealImages({ dataset }: EvaluationSet, seed: number): Images {
  return selectImages(dataset, realCount, seed)
}
