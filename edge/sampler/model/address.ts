import { type ManifestFile, modelName } from '@ddpm/shared'
import { SamplerError } from '../base/errors.ts'
import { fileUrl, type HashedFile, purposeOf } from '../base/hashed-file.ts'
import { type HubAddress, parseHubAddress, publicHub } from '../base/hub-address.ts'

export type FileOfModel = Pick<ManifestFile, 'path' | 'sha256' | 'bytes'>

/** Where the manifest and the files of a model are. */
export interface ModelAddress {
  readonly manifestUrl: string
  /** Base URL of a server or a static site, which also has the worker scripts. null: the hub, which has none */
  readonly server: string | null
  /** Options of the request for the manifest. */
  readonly request: RequestInit
  /** Purpose of the model's files in the cache. */
  readonly purpose: string
  /** What to do if there is no manifest, after the server's explanation. null: the server explains it. */
  readonly unknown: string | null
  /** @param commit version of the repository that has the manifest. null: unknown */
  file(file: FileOfModel, commit: string | null): HashedFile
}

/**
 * Base URL of this module: its server's other files are next to it. Created in two steps, because bundlers would
 * interpret `new URL('.', import.meta.url)` as a reference to a file.
 */
export const home = new URL('.', new URL(import.meta.url))

/**
 * Parses the address of a model.
 * @param url `https://host/owner/name`, `https://host/folder/owner/name` on a static site, `owner/name` on the server of
 *   this module; or, on the Hugging Face hub, `hf:owner/name`, `hf:owner/name@revision` or the address of its page
 * @param hubUrl address of the hub
 * @throws SamplerError 'bad-option'
 */
export function parseModelUrl(url: string, hubUrl: string = publicHub): ModelAddress {
  const onHub = parseHubAddress(url)
  if (onHub !== null) return addressOnHub(onHub, hubUrl.replace(/\/+$/, ''))
  const parsed = URL.canParse(url, home) ? new URL(url, home) : null
  const [, folder, name] = /^(.*)\/([^/]+\/[^/]+)$/.exec(parsed?.pathname ?? '') ?? []
  if (parsed?.protocol.startsWith('http') && modelName.safeParse(name).success) {
    return addressOnServer(`${parsed.origin}${folder}`, name!)
  }
  throw new SamplerError(
    'bad-option',
    `Invalid model "${url}": expected owner/name, https://host/owner/name, https://host/folder/owner/name, or ` +
      'hf:owner/name on the Hugging Face hub.',
  )
}

/** @param server base URL of `api/` and `files/`: an origin, or a folder on a static site */
function addressOnServer(server: string, name: string): ModelAddress {
  const purpose = purposeOf(server, name)
  return {
    manifestUrl: `${server}/api/models/${name}`,
    server,
    request: {},
    purpose,
    unknown: null,
    file: ({ sha256, bytes }) => ({
      url: fileUrl(server, { sha256 }),
      sha256,
      bytes,
      purpose,
      hasHashTag: true,
    }),
  }
}

function addressOnHub({ name, revision }: HubAddress, hubUrl: string): ModelAddress {
  const urlOf = (path: string, at: string) => `${hubUrl}/${name}/resolve/${encodeURIComponent(at)}/${path}`
  const repository = purposeOf(hubUrl, name)
  const purpose = revision === 'main' ? repository : `${repository}@${revision}`
  return {
    manifestUrl: urlOf('manifest.json', revision),
    server: null,
    // Browsers would otherwise use an earlier response without asking the hub.
    request: { cache: 'no-cache' },
    purpose,
    unknown: `Expected a public repository ${name} that has a manifest.json at "${revision}", as "npm run publish" writes it.`,
    file: ({ path, sha256, bytes }, commit) => ({
      // A commit does not change while the model is loaded.
      url: urlOf(path, commit ?? revision),
      // The same file can be in many commits.
      cacheUrl: `${repository}/${sha256}`,
      sha256,
      bytes,
      purpose,
      hasHashTag: false,
    }),
  }
}
