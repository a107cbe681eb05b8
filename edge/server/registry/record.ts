import { type Manifest, manifestSchema, modelName, sha256 } from '@ddpm/shared'
import * as z from 'zod'
import { readText, type Storage } from '../storage/storage.ts'
import { Refusal } from './errors.ts'
import { keys } from './keys.ts'

/** A name for a version that can be moved to another: `latest`, `stable`. Not to be taken for a version. */
export const aliasName = z
  .string()
  .regex(
    /^(?![0-9a-f]+$)[a-z0-9][a-z0-9._-]{0,63}$/,
    'expected lower-case letters, digits, ".", "-" and "_", at most 64, and not only hexadecimal digits',
  )

/** A manifest's SHA-256: what it names is fixed by it, bit for bit. */
export const versionId = sha256

/** One line of the list of models. */
export const modelSummary = manifestSchema
  .pick({ name: true, description: true, shape: true, classes: true, licence: true, training: true })
  .extend({
    /** SHA-256 of a grid of samples, at `/files/<sha256>`, or null where there is none. */
    preview: sha256.nullable(),
    version: versionId,
    published: z.iso.datetime(),
  })
export type ModelSummary = z.infer<typeof modelSummary>

const publishedVersion = z.strictObject({ version: versionId, published: z.iso.datetime() })

/** What changes about a model. Everything else is files under their hashes. */
const record = z.strictObject({
  format: z.literal(1),
  name: modelName,
  /** In the order of publication; none when the model was taken back. */
  versions: z.array(publishedVersion),
  /** `latest` is always among them while there are versions. */
  aliases: z.record(aliasName, versionId),
  /** Of the version that `latest` names, so that a list needs one object per model. */
  summary: modelSummary.nullable(),
})
export type ModelRecord = z.infer<typeof record>

/** A record with the version of the stored object, for compare and swap; null where there is none. */
export async function readRecord(
  storage: Storage,
  name: string,
): Promise<{ record: ModelRecord; version: string } | null> {
  const stored = await readText(storage, keys.record(name))
  return stored && { record: record.parse(JSON.parse(stored.text)), version: stored.version }
}

/** How often a change is tried again when others were faster. */
const attempts = 20

/**
 * Changes a record in one atomic write.
 * @param change gets the record as it is and gives the one to be, or null to leave it
 */
export async function changeRecord(
  storage: Storage,
  name: string,
  change: (present: ModelRecord) => Promise<ModelRecord | null> | ModelRecord | null,
): Promise<void> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const present = await readRecord(storage, name)
    const changed = await change(present?.record ?? emptyRecord(name))
    if (changed === null) return
    const text = `${JSON.stringify(record.parse(changed), null, 2)}\n`
    const only = present === null ? 'absent' : { version: present.version }
    if (await storage.put(keys.record(name), text, { mediaType: 'application/json', only })) return
  }
  throw new Refusal('conflict', `Others keep changing ${name}; try again.`)
}

function emptyRecord(name: string): ModelRecord {
  return { format: 1, name, versions: [], aliases: {}, summary: null }
}

export function summaryOf(manifest: Manifest, version: string, published: string): ModelSummary {
  const { name, description, shape, classes, licence, training, files } = manifest
  const preview = files.find(({ role }) => role === 'preview')?.sha256 ?? null
  return { name, description, shape, classes, licence, training, preview, version, published }
}

/**
 * The version that a reference means: an alias, a version, or the first 12 or more digits of one.
 * @returns null where it means none of this record's
 */
export function resolveVersion(
  { versions, aliases }: Pick<ModelRecord, 'versions' | 'aliases'>,
  reference: string,
): string | null {
  if (Object.hasOwn(aliases, reference)) return aliases[reference]!
  if (!/^[0-9a-f]{12,64}$/.test(reference)) return null
  return versions.find(({ version }) => version.startsWith(reference))?.version ?? null
}
