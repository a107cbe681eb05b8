import { type Manifest, manifestSchema, modelName, sha256 } from '@ddpm/shared'
import * as z from 'zod'
import { readText, type Storage } from '../storage/storage.ts'
import { RegistryError } from './errors.ts'
import { keys } from './keys.ts'
import { maxAttempts, pauseBeforeAttempt } from './locks.ts'

/** Movable name of a version, such as `latest` or `stable`. Must not look like a version. */
export const aliasName = z
  .string()
  .regex(
    /^(?![0-9a-f]+$)[a-z0-9][a-z0-9._-]{0,63}$/,
    'expected lower-case letters, digits, ".", "-" and "_", at most 64, and not only hexadecimal digits',
  )

/** A version is the SHA-256 of its manifest, which contains the hashes of all its files. */
export const versionId = sha256

/** Entry of the list of models. */
export const modelSummary = manifestSchema
  .pick({ name: true, description: true, shape: true, classes: true, licence: true, training: true })
  .extend({
    /** SHA-256 of a grid of samples, served at `/files/<sha256>`; null if there is none. */
    preview: sha256.nullable(),
    version: versionId,
    published: z.iso.datetime(),
  })
export type ModelSummary = z.infer<typeof modelSummary>

const publishedVersion = z.strictObject({ version: versionId, published: z.iso.datetime() })

/** The record of a model: the only object that changes. Its files are immutable, and their SHA-256 is their name. */
const modelRecord = z.strictObject({
  format: z.literal(1),
  name: modelName,
  /** In the order of publication. Empty if the model was unpublished. */
  versions: z.array(publishedVersion),
  /** Contains `latest` as long as there are versions. */
  aliases: z.record(aliasName, versionId),
  /** Summary of the `latest` version, so that a listing reads one object per model. */
  summary: modelSummary.nullable(),
})
export type ModelRecord = z.infer<typeof modelRecord>

/** Reads a record and the version of the stored object, for compare-and-swap. Returns null if there is none. */
export async function readRecord(
  storage: Storage,
  name: string,
): Promise<{ record: ModelRecord; version: string } | null> {
  const stored = await readText(storage, keys.record(name))
  return stored && { record: modelRecord.parse(JSON.parse(stored.text)), version: stored.version }
}

/**
 * Checks the version that an address has before it is changed; null for none. Called within the atomic update. Throws to
 * abandon the update.
 */
export type VersionCheck = (current: string | null) => void

/**
 * Updates a record in one atomic write (compare-and-swap, retried on conflict).
 * @param change returns the new record, or null to leave it unchanged
 */
export async function updateRecord(
  storage: Storage,
  name: string,
  change: (current: ModelRecord) => Promise<ModelRecord | null> | ModelRecord | null,
): Promise<void> {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    await pauseBeforeAttempt(attempt)
    const current = await readRecord(storage, name)
    const changed = await change(current?.record ?? emptyRecord(name))
    if (changed === null) return
    const text = `${JSON.stringify(modelRecord.parse(changed), null, 2)}\n`
    const onlyIf = current === null ? 'absent' : { version: current.version }
    if (await storage.put(keys.record(name), text, { mediaType: 'application/json', onlyIf })) return
  }
  throw new RegistryError(
    'conflict',
    `Cannot update ${name}: other publishers changed it at the same time. Try again.`,
  )
}

function emptyRecord(name: string): ModelRecord {
  return { format: 1, name, versions: [], aliases: {}, summary: null }
}

/** Creates the list entry of a version. */
export function summarize(manifest: Manifest, version: string, published: string): ModelSummary {
  const { name, description, shape, classes, licence, training, files } = manifest
  const preview = files.find(({ role }) => role === 'preview')?.sha256 ?? null
  return { name, description, shape, classes, licence, training, preview, version, published }
}

/**
 * Resolves a reference: an alias, a version, or at least the first 12 digits of a version.
 * @returns the version, or null if the record has none that matches
 */
export function resolveVersion(
  { versions, aliases }: Pick<ModelRecord, 'versions' | 'aliases'>,
  reference: string,
): string | null {
  if (Object.hasOwn(aliases, reference)) return aliases[reference]!
  if (!/^[0-9a-f]{12,64}$/.test(reference)) return null
  return versions.find(({ version }) => version.startsWith(reference))?.version ?? null
}

/**
 * Returns the version published before the one that `latest` points at.
 * @throws RegistryError "unknown version" if there is none
 */
export function previousVersion({
  name,
  versions,
  aliases,
}: Pick<ModelRecord, 'name' | 'versions' | 'aliases'>): string {
  const latest = aliases['latest'] ?? ''
  const previous = versions[versions.findIndex(({ version }) => version === latest) - 1]?.version
  if (previous !== undefined) return previous
  throw new RegistryError(
    'unknown version',
    `Cannot roll back ${name}: no version was published before ${latest.slice(0, 12)}, its latest version.`,
  )
}
