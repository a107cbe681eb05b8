import { type Manifest, parseManifest } from '@ddpm/shared'
import { listAll, readText, type Storage } from '../storage/storage.ts'
import { Refusal } from './errors.ts'
import { keys } from './keys.ts'
import { listModels } from './listing.ts'
import { changeRecord, type ModelRecord, readRecord, resolveVersion, summaryOf } from './record.ts'

/** A published version of a model. */
export interface FoundModel {
  readonly record: ModelRecord
  readonly version: string
  readonly manifest: Manifest
  /** The manifest as stored. */
  readonly text: string
}

/** How many names an answer about an unknown model suggests. */
const suggestions = 5

/** The record of a model that has versions, or null. */
export async function findRecord(storage: Storage, name: string): Promise<ModelRecord | null> {
  const record = (await readRecord(storage, name))?.record
  return record !== undefined && record.versions.length > 0 ? record : null
}

/**
 * A version of a model, its manifest as stored.
 * @param reference an alias, a version, or the beginning of one
 * @throws Refusal that says what there is
 */
export async function findStored(
  storage: Storage,
  name: string,
  reference = 'latest',
): Promise<Omit<FoundModel, 'manifest'>> {
  const record = await findRecord(storage, name)
  if (record === null) throw await unknownModel(storage, name)
  const version = resolveVersion(record, reference)
  if (version === null) throw unknownVersion(record, reference)
  const stored = await readText(storage, keys.file(version))
  if (stored === null) {
    throw new Error(`The manifest ${version} of ${name} is missing from the store; publish the model again.`)
  }
  return { record, version, text: stored.text }
}

/** As `findStored`, with the manifest read. */
export async function findVersion(storage: Storage, name: string, reference?: string): Promise<FoundModel> {
  const found = await findStored(storage, name, reference)
  return { ...found, manifest: parseManifest(found.text, `${name} ${found.version}`) }
}

export async function unknownModel(storage: Storage, name: string): Promise<Refusal> {
  const former = keys.formerManifest(name)
  if ((await storage.facts(former)) !== null) {
    return new Refusal(
      'unknown model',
      `${name} was published before models had versions (found "${former}" in the store; expected ` +
        `"${keys.record(name)}"). Publish it again: npm run publish -- FOLDER --name ${name}`,
    )
  }
  const { models, next } = await listModels(storage, { limit: suggestions })
  const names = models.map(({ name }) => name).join(', ')
  const known =
    models.length === 0
      ? 'none is published here yet; "npm run publish -- FOLDER" publishes one'
      : `published here: ${names}${next === null ? '' : ' and more (GET /api/models)'}`
  return new Refusal('unknown model', `No model is named "${name}"; ${known}.`)
}

function unknownVersion({ name, aliases, versions }: ModelRecord, reference: string): Refusal {
  const known = [...Object.keys(aliases), ...versions.map(({ version }) => version.slice(0, 12))].join(', ')
  return new Refusal('unknown version', `${name} has no version "${reference}"; it has: ${known}.`)
}

/** Every record with versions, for those who keep the registry. */
export async function* allRecords(storage: Storage): AsyncGenerator<ModelRecord> {
  for await (const { key } of listAll(storage, keys.records)) {
    const name = keys.nameOf(key)
    const record = name === null ? null : await findRecord(storage, name)
    if (record !== null) yield record
  }
}

/**
 * Moves an alias to another version of a model, in one write. `latest` moved back is a rollback.
 * @returns the version that it names now
 */
export async function moveAlias(
  storage: Storage,
  name: string,
  alias: string,
  reference: string,
): Promise<string> {
  const { version, manifest } = await findVersion(storage, name, reference)
  await changeRecord(storage, name, (present) => {
    const published = present.versions.find((each) => each.version === version)?.published
    if (published === undefined) throw unknownVersion(present, reference)
    const summary = alias === 'latest' ? summaryOf(manifest, version, published) : present.summary
    return { ...present, aliases: { ...present.aliases, [alias]: version }, summary }
  })
  return version
}

/** The version before the one that `latest` names, in the order of publication. */
export async function versionBefore(storage: Storage, name: string): Promise<string> {
  const record = await findRecord(storage, name)
  if (record === null) throw await unknownModel(storage, name)
  const index = record.versions.findIndex(({ version }) => version === record.aliases['latest'])
  const before = record.versions[index - 1]?.version
  if (before !== undefined) return before
  throw new Refusal(
    'unknown version',
    `${name} has no version before its latest, ${record.aliases['latest']}.`,
  )
}

/**
 * Takes back a version of a model, or all of them. Their files stay under their hashes, for whoever holds their
 * addresses, until garbage is collected.
 * @param reference of a version; all where it is not given
 */
export async function unpublish(storage: Storage, name: string, reference?: string): Promise<void> {
  if ((await findRecord(storage, name)) === null) throw await unknownModel(storage, name)
  await changeRecord(storage, name, async (present) => {
    const gone = reference === undefined ? null : resolveVersion(present, reference)
    if (reference !== undefined && gone === null) throw unknownVersion(present, reference)
    const versions = gone === null ? [] : present.versions.filter(({ version }) => version !== gone)
    const last = versions.at(-1)
    if (last === undefined) return { ...present, versions: [], aliases: {}, summary: null }
    const aliases = Object.fromEntries(
      Object.entries(present.aliases).filter(([, version]) => version !== gone),
    )
    if (aliases['latest'] !== undefined) return { ...present, versions, aliases }
    // The one before takes its place.
    const { manifest } = await findVersion(storage, name, last.version)
    const summary = summaryOf(manifest, last.version, last.published)
    return { ...present, versions, aliases: { ...aliases, latest: last.version }, summary }
  })
}
