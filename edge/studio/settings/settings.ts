import {
  type Manifest,
  type Plan,
  planFor,
  type SampleOptions,
  type samplers,
  type timestepSpacings,
} from 'ddpm-sampler'

/** Everything that determines the generated images: the contents of the form and of a link. */
export interface Settings {
  /** Name of the model, `owner/name`. */
  readonly model: string
  /** Name of a class; null for any class. */
  readonly class: string | null
  readonly guidance: number
  readonly guidanceRescale: number
  /** Number of images. */
  readonly count: number
  readonly seed: number
  readonly sampler: (typeof samplers)[number]
  readonly steps: number
  readonly spacing: (typeof timestepSpacings)[number]
  /** η of DDIM: 0 to 1, or 'hat' for the larger σ̂ of Song et al. */
  readonly eta: number | 'hat'
  /** Order of the multistep solvers. */
  readonly order: 1 | 2 | 3
  readonly start: Start
}

/** What generation starts from. Images of a seed are counted from 0. */
export type Start =
  | { readonly kind: 'noise' }
  /**
   * Noise near the start noise of one image. Distance 0 is the noise of that image, 1 the unrelated noise of the second
   * seed.
   */
  | {
      readonly kind: 'variation'
      readonly image: number
      readonly distance: number
      readonly secondSeed: number
    }
  /** Noise between the start noises of two images. */
  | { readonly kind: 'interpolation'; readonly image: number; readonly to: ImageNumber }
  /** An image of the model's size (SDEdit). With a mask, only its white areas change (RePaint). */
  | {
      readonly kind: 'image'
      /** Share of the noise levels that is used, 0 to 1. */
      readonly strength: number
      readonly image: ImageData
      readonly mask: ImageData | null
    }

/** Whether a mask marks no pixel. Inpainting would then return the image unchanged. */
export function isBlank({ data }: ImageData): boolean {
  return !data.some((value, i) => i % 4 === 0 && value > 0)
}

/** Identifies one generated image. */
export interface ImageNumber {
  readonly seed: number
  readonly image: number
}

/** Max number of images at once. With larger models, more would need gigabytes of memory. */
export const maxImages = 64

/** Default distance of variations: different, but still similar. */
export const defaultDistance = 0.25

/** Returns the default settings of a model. */
export function defaultSettings(manifest: Manifest, seed: number, count = 16): Settings {
  const { sampler, steps, spacing, guidance, guidanceRescale = 0, eta = 0, order = 2 } = manifest.sampling
  const defaults = { class: null, guidance, guidanceRescale, start: { kind: 'noise' } } as const
  return { model: manifest.name, count, seed, sampler, steps, spacing, eta, order, ...defaults }
}

type SamplerOptions = Pick<SampleOptions, 'sampler' | 'steps' | 'spacing' | 'eta' | 'order'>

/** Returns the options that determine the sampler's plan, without those that the sampler ignores. */
export function samplerOptions({ sampler, steps, spacing, eta, order }: Settings): SamplerOptions {
  return {
    sampler,
    steps,
    spacing,
    ...(sampler === 'ddim' && { eta }),
    ...(hasOrder(sampler) && { order: sampler === 'sde-dpmpp' && order === 3 ? 2 : order }),
  }
}

/** Computes the sampler's plan. Needs no model files. */
export function createPlan(manifest: Manifest, settings: Settings): Plan {
  return planFor(manifest, samplerOptions(settings))
}

/** Returns whether the sampler is a multistep solver with a configurable order. */
export function hasOrder(sampler: Settings['sampler']): boolean {
  return sampler === 'dpmpp' || sampler === 'sde-dpmpp' || sampler === 'unipc'
}

/** Returns whether the sampler adds noise in every step. If so, the initial noise alone does not determine the image. */
export function isStochastic({ sampler, eta }: Pick<Settings, 'sampler' | 'eta'>): boolean {
  return sampler === 'ddpm' || sampler === 'sde-dpmpp' || (sampler === 'ddim' && eta !== 0)
}

/** Returns the settings with a deterministic sampler: unchanged if it is one, otherwise with DDIM and η = 0. */
export function toDeterministic<S extends Pick<Settings, 'sampler' | 'eta'>>(settings: S): S {
  return isStochastic(settings) ? { ...settings, sampler: 'ddim', eta: 0 } : settings
}
