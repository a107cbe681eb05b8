import { modelName } from '@ddpm/shared'

/** Content codings of the precompressed variants of a file, best compression first. */
export const codings = ['br', 'gzip'] as const
export type Coding = (typeof codings)[number]

export const sha256Pattern = /^[0-9a-f]{64}$/

const recordPattern = /^registry\/([^/]+\/[^/]+)\.json$/

/**
 * Storage keys of the registry. All access to a store goes through these: parts of a request are validated here before
 * they become part of a key.
 */
export const keys = {
  /** Immutable content under its SHA-256: models, previews, manifests, onnxruntime's files. */
  file: (sha256: string) => `files/${validated(sha256Pattern, sha256)}`,
  files: 'files/',
  /** A precompressed variant of a file. */
  variant: (sha256: string, coding: Coding) => `files/${validated(sha256Pattern, sha256)}.${coding}`,
  /** Returns the SHA-256 of a key below `files/`. */
  fileOf: (key: string) => key.slice('files/'.length, 'files/'.length + 64),
  /** The record of a model: its versions and aliases. The only object of a model that changes. */
  record: (name: string) => `registry/${modelName.parse(name)}.json`,
  records: 'registry/',
  /** Returns the model's name from the key of its record, or null for another key. */
  nameOf: (key: string) => modelName.safeParse(recordPattern.exec(key)?.[1]).data ?? null,
  /** The list of all published models, derived from their records. */
  index: 'index/models.tsv',
  /** The manifest of a model in the old layout without versions. It is only detected and removed. */
  formerManifest: (name: string) => `models/${modelName.parse(name)}.json`,
  /** The manifest of a publication in progress. Its files must not be garbage-collected. */
  publication: (version: string) => `publishing/${validated(sha256Pattern, version)}.json`,
  publications: 'publishing/',
  /** One part of a file that is uploaded in several requests. */
  part: (sha256: string, index: number) =>
    `uploads/${validated(sha256Pattern, sha256)}/${validated(/^\d{5}$/, String(index).padStart(5, '0'))}`,
  parts: (sha256: string) => `uploads/${validated(sha256Pattern, sha256)}/`,
  uploads: 'uploads/',
  /** Cache tags that are to be purged. */
  purge: (id: string) => `purging/${validated(/^[0-9a-f-]{36}$/, id)}.json`,
  purges: 'purging/',
  /** The lock that is held while garbage is collected. */
  collection: 'locks/collection.json',
  /** List of onnxruntime's files that the built page loads. */
  runtime: 'runtime.json',
} as const

function validated(pattern: RegExp, text: string): string {
  if (pattern.test(text)) return text
  // Without the text, which may come from the path of a request: the message is logged.
  throw new Error(`Invalid part of a storage key: expected ${pattern}.`)
}
