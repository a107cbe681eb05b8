import { modelName } from '@ddpm/shared'

/** Content codings that precompressed variants of a file exist in, the better one first. */
export const codings = ['br', 'gzip'] as const
export type Coding = (typeof codings)[number]

export const sha256Pattern = /^[0-9a-f]{64}$/

const recordPattern = /^registry\/([^/]+\/[^/]+)\.json$/

/**
 * Where the registry keeps things. Nothing else is ever asked of a store: whatever a request says, its parts are
 * checked here before they become a key.
 */
export const keys = {
  /** Content under its SHA-256: models, previews, manifests, onnxruntime's files. Never changes. */
  file: (sha256: string) => `files/${checked(sha256Pattern, sha256)}`,
  files: 'files/',
  /** The same file, compressed beforehand. */
  variant: (sha256: string, coding: Coding) => `files/${checked(sha256Pattern, sha256)}.${coding}`,
  /** Which file a key of `files/` belongs to. */
  fileOf: (key: string) => key.slice('files/'.length, 'files/'.length + 64),
  /** Versions and aliases of a model: the one thing that changes, in one write. */
  record: (name: string) => `registry/${modelName.parse(name)}.json`,
  records: 'registry/',
  nameOf: (key: string) => recordPattern.exec(key)?.[1] ?? null,
  /** Where a model's manifest was before models had versions; nothing reads it any more. */
  formerManifest: (name: string) => `models/${modelName.parse(name)}.json`,
  /** A publication under way: its manifest, whose files must not be collected. */
  publication: (version: string) => `publishing/${checked(sha256Pattern, version)}.json`,
  publications: 'publishing/',
  /** A piece of a file that comes in several requests. */
  part: (sha256: string, index: number) =>
    `uploads/${checked(sha256Pattern, sha256)}/${checked(/^\d{5}$/, String(index).padStart(5, '0'))}`,
  parts: (sha256: string) => `uploads/${checked(sha256Pattern, sha256)}/`,
  uploads: 'uploads/',
  /** Held while garbage is collected. */
  collection: 'locks/collection.json',
  /** The files of onnxruntime that the built page asks for. */
  runtime: 'runtime.json',
} as const

function checked(pattern: RegExp, text: string): string {
  if (pattern.test(text)) return text
  throw new Error(`Found "${text}" for a part of a storage key; expected ${pattern}.`)
}
