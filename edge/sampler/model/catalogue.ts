import { type Manifest, modelName, parseManifest } from '@ddpm/shared'
import { SamplerError } from '../base/errors.ts'
import { fetchOrExplain } from '../download/download.ts'

/** What a server's list says of a model. */
export type ModelSummary = Pick<
  Manifest,
  'name' | 'description' | 'shape' | 'classes' | 'licence' | 'training'
> & {
  /** SHA-256 of a grid of samples, at `files/<sha256>` of the server. */
  readonly preview: string | null
}

/** Where a model lies. */
export interface Address {
  /** What the addresses under `/api` and `/files` begin with: an origin, or a folder of one where the site is static. */
  readonly server: string
  readonly name: string
}

/** Where this module lies, among the other files of its server; in two steps, for bundlers take one for a file's name. */
const home = new URL('.', new URL(import.meta.url))

/** The models of a server, given as `https://host`, or a folder of one; this module's own unless told. */
export async function listModels(server: string = home.href): Promise<ModelSummary[]> {
  const response = await fetchOrExplain(`${server.replace(/\/$/, '')}/api/models`)
  const { models } = (await response.json()) as { models: ModelSummary[] }
  return models
}

/**
 * What is published about a model.
 * @param url as for `load`
 */
export async function loadManifest(url: string, signal?: AbortSignal): Promise<Manifest> {
  const { server, name } = addressOf(url)
  const source = `${server}/api/models/${name}`
  return parseManifest(await (await fetchOrExplain(source, { signal: signal ?? null })).text(), source)
}

/**
 * @param url `https://host/owner/name`, `https://host/folder/owner/name` of a static site, or `owner/name` of the
 *   server that this module came from
 * @throws SamplerError 'bad-option'
 */
export function addressOf(url: string): Address {
  const found = URL.canParse(url, home) ? new URL(url, home) : null
  const [, folder, name] = /^(.*)\/([^/]+\/[^/]+)$/.exec(found?.pathname ?? '') ?? []
  if (found?.protocol.startsWith('http') && modelName.safeParse(name).success) {
    return { server: `${found.origin}${folder}`, name: name! }
  }
  throw new SamplerError(
    'bad-option',
    `Found the model "${url}"; expected owner/name or https://host/owner/name, with the folder of a static site between.`,
  )
}
