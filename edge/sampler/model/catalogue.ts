import { type Manifest, modelName, parseManifest } from '@ddpm/shared'
import { SamplerError } from '../base/errors.ts'
import { fetchOk } from '../download/http.ts'

/** An entry in a server's list of models. */
export type ModelSummary = Pick<
  Manifest,
  'name' | 'description' | 'shape' | 'classes' | 'licence' | 'training'
> & {
  /** SHA-256 of an image grid of samples, at `files/<sha256>` of the server; null if there is none. */
  readonly preview: string | null
}

/** Parsed address of a model. */
export interface ModelAddress {
  /** Base URL of `api/` and `files/`: an origin, or a folder on a static site. */
  readonly server: string
  /** `owner/name` */
  readonly name: string
}

/**
 * Base URL of this module: its server's other files are next to it. Created in two steps, because bundlers would
 * interpret `new URL('.', import.meta.url)` as a reference to a file.
 */
const home = new URL('.', new URL(import.meta.url))

/**
 * Returns the models of a server.
 * @param server `https://host`, or a folder of one. Default: the server of this module.
 * @throws SamplerError 'bad-option' if this module is not from a server and `server` is missing
 */
export async function listModels(server: string = home.href): Promise<ModelSummary[]> {
  if (!URL.canParse(server) || !new URL(server).protocol.startsWith('http')) {
    throw new SamplerError('bad-option', `Invalid server "${server}": expected https://host.`)
  }
  const response = await fetchOk(`${server.replace(/\/$/, '')}/api/models`)
  const { models } = (await response.json()) as { models: ModelSummary[] }
  return models
}

/**
 * Returns the manifest of a published model.
 * @param url as for `load`
 * @throws SamplerError 'not-found' for an unknown model; the signal's reason when aborted
 */
export async function loadManifest(url: string, signal?: AbortSignal): Promise<Manifest> {
  const { server, name } = parseModelUrl(url)
  const source = `${server}/api/models/${name}`
  return parseManifest(await (await fetchOk(source, { signal: signal ?? null })).text(), source)
}

/**
 * Parses the address of a model.
 * @param url `https://host/owner/name`, `https://host/folder/owner/name` on a static site, or `owner/name` on the
 *   server of this module
 * @throws SamplerError 'bad-option'
 */
export function parseModelUrl(url: string): ModelAddress {
  const parsed = URL.canParse(url, home) ? new URL(url, home) : null
  const [, folder, name] = /^(.*)\/([^/]+\/[^/]+)$/.exec(parsed?.pathname ?? '') ?? []
  if (parsed?.protocol.startsWith('http') && modelName.safeParse(name).success) {
    return { server: `${parsed.origin}${folder}`, name: name! }
  }
  throw new SamplerError(
    'bad-option',
    `Invalid model "${url}": expected owner/name, https://host/owner/name, or https://host/folder/owner/name.`,
  )
}
