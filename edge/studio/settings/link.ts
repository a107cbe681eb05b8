import { samplers, timestepSpacings, UserError } from 'ddpm-sampler'
import { fromText, toText } from '../ui/pixels.ts'
import { defaultDistance, hasOrder, maxImages, type Settings, type Start } from './settings.ts'

/**
 * Encodes settings as a link. The visitor's own image is in the fragment, which browsers do not send to servers.
 * The parameter names are part of links that people have shared: do not rename them.
 */
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
    case 'variation':
      query.set('near', String(start.image))
      query.set('distance', String(start.distance))
      query.set('other', String(start.secondSeed))
      break
    case 'interpolation':
      query.set('from', String(start.image))
      query.set('to', `${start.to.seed}.${start.to.image}`)
      break
    case 'image':
      query.set('strength', String(start.strength))
      fragment.set('picture', toText(start.image))
      if (start.mask) fragment.set('mask', toText(start.mask))
  }
  // Slashes are valid in a query and more readable without escaping.
  return `?${query.toString().replaceAll('%2F', '/')}${fragment.size > 0 ? `#${fragment}` : ''}`
}

/**
 * Decodes the settings of a link. Missing parameters are missing in the result.
 * @throws UserError if a value is invalid: ignoring it would generate different images than the link promises
 */
export async function fromLink(search: string, hash = ''): Promise<Partial<Settings>> {
  const query = new URLSearchParams(search)
  const text = (key: string) => query.get(key) ?? undefined
  const number = (key: string, range: Range) => parseNumber(query, key, range)
  const settings = {
    model: text('model'),
    class: text('class'),
    guidance: number('guidance', { min: 0, max: 100 }),
    guidanceRescale: number('rescale', { min: 0, max: 1 }),
    count: number('count', { min: 1, max: maxImages, isInteger: true }),
    seed: number('seed', seeds),
    sampler: parseChoice(query, 'sampler', samplers),
    steps: number('steps', { min: 1, max: maxSteps, isInteger: true }),
    spacing: parseChoice(query, 'spacing', timestepSpacings),
    eta: text('eta') === 'hat' ? ('hat' as const) : number('eta', { min: 0, max: 1 }),
    order: number('order', { min: 1, max: 3, isInteger: true }) as 1 | 2 | 3 | undefined,
    start: await parseStart(query, new URLSearchParams(hash.slice(1))),
  }
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined))
}

async function parseStart(query: URLSearchParams, fragment: URLSearchParams): Promise<Start | undefined> {
  const number = (key: string, range: Range) => parseNumber(query, key, range)
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
  const near = number('near', imageNumbers)
  if (near !== undefined) {
    const distance = number('distance', { min: 0, max: 1 }) ?? defaultDistance
    return { kind: 'variation', image: near, distance, secondSeed: number('other', seeds) ?? 0 }
  }
  const from = number('from', imageNumbers)
  if (from === undefined) return undefined
  const to = query.get('to')
  const [, seed, index] = /^(\d+)\.(\d+)$/.exec(to ?? '') ?? []
  if (index === undefined) {
    const problem = to === null ? 'Missing "to" in the link' : `Invalid "to=${to}" in the link`
    throw new UserError(`${problem}: expected a seed and an image number, such as to=7.0.`)
  }
  return { kind: 'interpolation', image: from, to: { seed: Number(seed), image: Number(index) } }
}

interface Range {
  readonly min: number
  readonly max: number
  readonly isInteger?: boolean
}

/** Larger than the number of timesteps of any model. */
const maxSteps = 10_000
const seeds: Range = { min: 0, max: Number.MAX_SAFE_INTEGER, isInteger: true }
const imageNumbers: Range = { min: 0, max: 2 ** 32 - 1, isInteger: true }

function parseNumber(query: URLSearchParams, key: string, { min, max, isInteger = false }: Range) {
  const text = query.get(key)
  if (text === null) return undefined
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (value >= min && value <= max && (!isInteger || Number.isInteger(value))) return value
  const kind = isInteger ? 'an integer' : 'a number'
  throw new UserError(`Invalid "${key}=${text}" in the link: expected ${kind} from ${min} to ${max}.`)
}

function parseChoice<T extends string>(query: URLSearchParams, key: string, choices: readonly T[]) {
  const text = query.get(key)
  if (text === null) return undefined
  const choice = choices.find((value) => value === text)
  if (choice !== undefined) return choice
  throw new UserError(`Invalid "${key}=${text}" in the link: expected one of ${choices.join(', ')}.`)
}
