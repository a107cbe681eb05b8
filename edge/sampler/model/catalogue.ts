import { type Manifest, parseManifest } from '@ddpm/shared'
import { SamplerError } from '../base/errors.ts'
import type { HashedFile } from '../base/hashed-file.ts'
import { fetchOk } from '../download/http.ts'
import { type FileOfModel, home, type ModelAddress, parseModelUrl } from './address.ts'

/** An entry in a server's list of models. */
export type ModelSummary = Pick<
  Manifest,
  'name' | 'description' | 'shape' | 'classes' | 'licence' | 'training'
> & {
  /** SHA-256 of an image grid of samples, at `files/<sha256>` of the server; null if there is none. */
  readonly preview: string | null
}

/**
 * Returns the models of a server: at most 50, sorted by name.
 * @param server `https://host`, or a folder of one. Default: the server of this module.
 * @param options.query words that name, description or classes must contain. A static site ignores them.
 * @throws SamplerError 'bad-option' if this module is not from a server and `server` is missing
 */
export async function listModels(
  server: string = home.href,
  { query = '' }: { readonly query?: string } = {},
): Promise<ModelSummary[]> {
  if (!URL.canParse(server) || !new URL(server).protocol.startsWith('http')) {
    throw new SamplerError('bad-option', `Invalid server "${server}": expected https://host.`)
  }
  const search = query === '' ? '' : `?${new URLSearchParams({ q: query })}`
  const response = await fetchOk(`${server.replace(/\/$/, '')}/api/models${search}`)
  const { models } = (await response.json()) as { models: ModelSummary[] }
  return models
}

/**
 * Returns the manifest of a published model.
 * @param url as for `load`
 * @throws SamplerError 'not-found' for an unknown model; the signal's reason when aborted
 */
export async function loadManifest(url: string, signal?: AbortSignal): Promise<Manifest> {
  return (await findModel(parseModelUrl(url), { signal })).manifest
}

/** A published model: its manifest, and where its files are. */
export interface FoundModel {
  readonly manifest: Manifest
  file(file: FileOfModel): HashedFile
}

/**
 * Finds a published model.
 * @param options.manifest its manifest, if it is known. Default: it is downloaded.
 * @throws SamplerError as `loadManifest`
 */
export async function findModel(
  address: ModelAddress,
  { manifest, signal }: { manifest?: Manifest | undefined; signal?: AbortSignal | undefined } = {},
): Promise<FoundModel> {
  if (manifest) return { manifest, file: (file) => address.file(file, null) }
  const { manifestUrl, unknown } = address
  const response = await fetchOk(manifestUrl, { ...address.request, signal: signal ?? null }).catch(
    (error) => {
      const isUnknown = error instanceof SamplerError && error.code === 'not-found'
      throw isUnknown && unknown ? new SamplerError('not-found', `${error.message} ${unknown}`) : error
    },
  )
  const commit = response.headers.get('X-Repo-Commit')
  return {
    manifest: parseManifest(await response.text(), manifestUrl),
    file: (file) => address.file(file, commit),
  }
}
