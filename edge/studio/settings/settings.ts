import {
  type Manifest,
  type Plan,
  planFor,
  type SampleOptions,
  samplers,
  timestepSpacings,
  UserError,
} from 'ddpm-sampler'
import { fromText, toText } from '../ui/pixels.ts'

/** All that determines the pictures: what the form holds and what a link carries. */
export interface Settings {
  readonly model: string
  /** null: any class. */
  readonly class: string | null
  readonly guidance: number
  readonly guidanceRescale: number
  readonly count: number
  readonly seed: number
  readonly sampler: (typeof samplers)[number]
  readonly steps: number
  readonly spacing: (typeof timestepSpacings)[number]
  /** Of DDIM: 0 … 1, or Song et al.'s larger σ̂. */
  readonly eta: number | 'hat'
  /** Of the multistep solvers. */
  readonly order: 1 | 2 | 3
  readonly start: Start
}

/** What a drawing starts from. Pictures are counted from 0. */
export type Start =
  | { readonly kind: 'noise' }
  /** Noise near that of one picture of the seed; distance 0 is that noise, 1 another. */
  | { readonly kind: 'near'; readonly image: number; readonly distance: number; readonly other: number }
  /** Noise on the way from one picture of the seed to a picture of another, or of the same. */
  | { readonly kind: 'between'; readonly image: number; readonly to: Noise }
  /** A picture of the model's size; where the mask is white, it is drawn anew (RePaint), elsewhere it stays. */
  | {
      readonly kind: 'image'
      readonly strength: number
      readonly image: ImageData
      readonly mask: ImageData | null
    }

/** One picture's start noise. */
export interface Noise {
  readonly seed: number
  readonly image: number
}

/** More at once than this needs gigabytes on larger models. */
export const mostImages = 64

/** More than any schedule has. */
const mostSteps = 10_000

/** What the form starts with where a link says nothing. */
export function defaultSettings(manifest: Manifest, seed: number, count = 16): Settings {
  const { sampler, steps, spacing, guidance, guidanceRescale = 0, eta = 0, order = 2 } = manifest.sampling
  const from = { class: null, guidance, guidanceRescale, start: { kind: 'noise' } } as const
  return { model: manifest.name, count, seed, sampler, steps, spacing, eta, order, ...from }
}

/** What of the settings decides the sampler's table. */
export function planningOf({ sampler, steps, spacing, eta, order }: Settings): PlanningOptions {
  return {
    sampler,
    steps,
    spacing,
    ...(sampler === 'ddim' && { eta }),
    ...(hasOrder(sampler) && { order: sampler === 'sde-dpmpp' && order === 3 ? 2 : order }),
  }
}

type PlanningOptions = Pick<SampleOptions, 'sampler' | 'steps' | 'spacing' | 'eta' | 'order'>

export function hasOrder(sampler: Settings['sampler']): boolean {
  return sampler === 'dpmpp' || sampler === 'sde-dpmpp' || sampler === 'unipc'
}

/** Whether every step adds fresh noise, so that the start alone does not decide the picture. */
export function isStochastic({ sampler, eta }: Pick<Settings, 'sampler' | 'eta'>): boolean {
  return sampler === 'ddpm' || sampler === 'sde-dpmpp' || (sampler === 'ddim' && eta !== 0)
}

/** The same settings with a sampler that leads from one noise to one picture: DDIM with η = 0. */
export function deterministic<S extends Pick<Settings, 'sampler' | 'eta'>>(settings: S): S {
  return isStochastic(settings) ? { ...settings, sampler: 'ddim', eta: 0 } : settings
}

/** The link of settings: a query that every server may see, and a fragment, which none sees, for own pictures. */
export function toLink(settings: Settings): string {
  const { model, seed, count, sampler, steps, spacing, eta, order, guidance, guidanceRescale, start } =
    settings
  const query = new URLSearchParams({ model, seed: String(seed), count: String(count), sampler })
  query.set('steps', String(steps))
  query.set('spacing', spacing)
  if (sampler === 'ddim') query.set('eta', String(eta))
  if (hasOrder(sampler)) query.set('order', String(order))
  query.set('guidance', String(guidance))
  if (guidanceRescale !== 0) query.set('rescale', String(guidanceRescale))
  if (settings.class !== null) query.set('class', settings.class)
  const fragment = new URLSearchParams()
  switch (start.kind) {
    case 'noise':
      break
    case 'near':
      query.set('near', String(start.image))
      query.set('distance', String(start.distance))
      query.set('other', String(start.other))
      break
    case 'between':
      query.set('from', String(start.image))
      query.set('to', `${start.to.seed}.${start.to.image}`)
      break
    case 'image':
      query.set('strength', String(start.strength))
      fragment.set('picture', toText(start.image))
      if (start.mask) fragment.set('mask', toText(start.mask))
  }
  // A slash needs no escape in a query and reads better without.
  return `?${query.toString().replaceAll('%2F', '/')}${fragment.size > 0 ? `#${fragment}` : ''}`
}

/**
 * What a link says.
 * @throws UserError where a value is impossible: drawing something else in silence would not reproduce anything
 */
export async function fromLink(search: string, hash = ''): Promise<Partial<Settings>> {
  const query = new URLSearchParams(search)
  const text = (key: string) => query.get(key) ?? undefined
  const number = (key: string, range: Range) => parseNumber(key, text(key), range)
  const choice = <T extends string>(key: string, known: readonly T[]) => parseChoice(key, text(key), known)
  const said = {
    model: text('model'),
    class: text('class'),
    guidance: number('guidance', { min: 0, max: 100 }),
    guidanceRescale: number('rescale', { min: 0, max: 1 }),
    count: number('count', { min: 1, max: mostImages, whole: true }),
    seed: number('seed', seeds),
    sampler: choice('sampler', samplers),
    steps: number('steps', { min: 1, max: mostSteps, whole: true }),
    spacing: choice('spacing', timestepSpacings),
    eta: text('eta') === 'hat' ? ('hat' as const) : number('eta', { min: 0, max: 1 }),
    order: number('order', { min: 1, max: 3, whole: true }) as 1 | 2 | 3 | undefined,
    start: await startFrom(query, new URLSearchParams(hash.slice(1))),
  }
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
}

async function startFrom(query: URLSearchParams, fragment: URLSearchParams): Promise<Start | undefined> {
  const number = (key: string, range: Range) => parseNumber(key, query.get(key) ?? undefined, range)
  const image = fragment.get('picture')
  if (image !== null) {
    const mask = fragment.get('mask')
    return {
      kind: 'image',
      strength: number('strength', { min: 0, max: 1 }) ?? 1,
      image: await fromText(image),
      mask: mask === null ? null : await fromText(mask),
    }
  }
  const near = number('near', images)
  if (near !== undefined) {
    const distance = number('distance', { min: 0, max: 1 }) ?? defaultDistance
    return { kind: 'near', image: near, distance, other: number('other', seeds) ?? 0 }
  }
  const from = number('from', images)
  if (from === undefined) return undefined
  const [, seed, index] = /^(\d+)\.(\d+)$/.exec(query.get('to') ?? '') ?? []
  if (index === undefined) {
    throw new UserError(
      `The link says to=${query.get('to')}; expected a seed and a picture of it, as in to=7.0.`,
    )
  }
  return { kind: 'between', image: from, to: { seed: Number(seed), image: Number(index) } }
}

/** Far enough to differ, near enough to be recognised. */
export const defaultDistance = 0.25

interface Range {
  readonly min: number
  readonly max: number
  readonly whole?: boolean
}

const seeds: Range = { min: 0, max: Number.MAX_SAFE_INTEGER, whole: true }
const images: Range = { min: 0, max: 2 ** 32 - 1, whole: true }

function parseNumber(key: string, given: string | undefined, { min, max, whole = false }: Range) {
  if (given === undefined) return undefined
  const value = given.trim() === '' ? Number.NaN : Number(given)
  if (value >= min && value <= max && (!whole || Number.isInteger(value))) return value
  const kind = whole ? 'a whole number' : 'a number'
  throw new UserError(`The link says ${key}=${given}; expected ${kind} from ${min} to ${max}.`)
}

function parseChoice<T extends string>(key: string, given: string | undefined, known: readonly T[]) {
  if (given === undefined) return undefined
  const found = known.find((value) => value === given)
  if (found === undefined) throw new UserError(`The link says ${key}=${given}; expected ${known.join(', ')}.`)
  return found
}

/** The sampler's table for settings, before any model is downloaded. */
export function planOf(manifest: Manifest, settings: Settings): Plan {
  return planFor(manifest, planningOf(settings))
}
