import { type Manifest, samplers, UserError } from './sampler.ts'

/** All that determines the pictures: what the form holds and what a link carries. */
export interface Settings {
  readonly model: string
  /** null: any class. */
  readonly className: string | null
  readonly guidance: number
  readonly count: number
  readonly seed: number
  readonly sampler: (typeof samplers)[number]
  readonly steps: number
}

/** More at once than this needs gigabytes on larger models. */
export const mostPictures = 64

/** What the form starts with where a link says nothing. */
export function defaultSettings(manifest: Manifest, seed: number): Settings {
  const { sampler, steps, guidance } = manifest.sampling
  return { model: manifest.name, className: null, guidance, count: 16, seed, sampler, steps }
}

/** The query of a link that draws the same pictures. */
export function toQuery({ model, className, guidance, count, seed, sampler, steps }: Settings): string {
  const query = new URLSearchParams({
    model,
    seed: String(seed),
    count: String(count),
    sampler,
    steps: String(steps),
    guidance: String(guidance),
  })
  if (className !== null) query.set('class', className)
  // A slash needs no escape in a query and reads better without.
  return `?${query.toString().replaceAll('%2F', '/')}`
}

/**
 * What a link says.
 * @throws UserError where a value is impossible: drawing something else in silence would not reproduce anything
 */
export function fromQuery(search: string): Partial<Settings> {
  const query = new URLSearchParams(search)
  const text = (key: string) => query.get(key) ?? undefined
  const number = (key: string, { min, max, whole = true }: { min: number; max: number; whole?: boolean }) => {
    const given = text(key)
    if (given === undefined) return undefined
    const value = given.trim() === '' ? Number.NaN : Number(given)
    if (value >= min && value <= max && (!whole || Number.isInteger(value))) return value
    const kind = whole ? 'a whole number' : 'a number'
    throw new UserError(`The link says ${key}=${given}; expected ${kind} from ${min} to ${max}.`)
  }
  const sampler = text('sampler')
  if (sampler !== undefined && !isSampler(sampler)) {
    throw new UserError(`The link says sampler=${sampler}; expected ${samplers.join(', ')}.`)
  }
  const said = {
    model: text('model'),
    className: text('class'),
    guidance: number('guidance', { min: 0, max: 100, whole: false }),
    count: number('count', { min: 1, max: mostPictures }),
    seed: number('seed', { min: 0, max: Number.MAX_SAFE_INTEGER }),
    sampler,
    steps: number('steps', { min: 1, max: 10_000 }),
  }
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
}

function isSampler(text: string): text is Settings['sampler'] {
  return (samplers as readonly string[]).includes(text)
}
