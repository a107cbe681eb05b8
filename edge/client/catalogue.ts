import { type Manifest, modelName, parseManifest } from '@ddpm/shared'
import { fetchOrExplain } from './download.ts'
import { SamplerError } from './errors.ts'

/** What a server's list says of a model. */
export type ModelSummary = Pick<
  Manifest,
  'name' | 'description' | 'shape' | 'classes' | 'licence' | 'training'
> & {
  /** SHA-256 of a grid of samples, at `/files/<sha256>`. */
  readonly preview: string | null
}

/** Where a model lies. */
export interface Address {
  readonly origin: string
  readonly name: string
}

const home = new URL(import.meta.url)

/** The models of a server; this module's own unless told. */
export async function listModels(origin: string = home.origin): Promise<ModelSummary[]> {
  const response = await fetchOrExplain(`${origin}/api/models`)
  const { models } = (await response.json()) as { models: ModelSummary[] }
  return models
}

/**
 * What is published about a model.
 * @param url as for `load`
 */
export async function loadManifest(url: string, signal?: AbortSignal): Promise<Manifest> {
  const { origin, name } = addressOf(url)
  const source = `${origin}/api/models/${name}`
  return parseManifest(await (await fetchOrExplain(source, { signal: signal ?? null })).text(), source)
}

/**
 * @param url `https://host/owner/name`, or `owner/name` of the server that this module came from
 * @throws SamplerError 'bad-option'
 */
export function addressOf(url: string): Address {
  const found = URL.canParse(url, home) ? new URL(url, home) : null
  const name = found?.pathname.slice(1)
  if (found?.protocol.startsWith('http') && modelName.safeParse(name).success) {
    return { origin: found.origin, name: name! }
  }
  throw new SamplerError(
    'bad-option',
    `Found the model "${url}"; expected owner/name or https://host/owner/name.`,
  )
}
