import { type Manifest, parseManifest } from '@ddpm/shared'
import { listAll, readText, type Storage } from '../storage/storage.ts'
import { RegistryError } from './errors.ts'
import { keys } from './keys.ts'
import { nameOf, readIndex, updateIndex } from './model-index.ts'
import { sha256OfText } from './publishing.ts'
import { type Purge, planPurge, purgePlanned } from './purging.ts'
import {
  type ModelRecord,
  readRecord,
  resolveVersion,
  summarize,
  updateRecord,
  type VersionCheck,
} from './record.ts'

/** A published version of a model. */
export interface ModelVersion {
  readonly record: ModelRecord
  readonly version: string
  readonly manifest: Manifest
  /** The manifest exactly as stored. */
  readonly text: string
}

/** Finds the record of a model. Returns null if the model has no versions. */
export async function findRecord(storage: Storage, name: string): Promise<ModelRecord | null> {
  const record = (await readRecord(storage, name))?.record
  return record !== undefined && record.versions.length > 0 ? record : null
}

/** Returns a hash of what `/versions` lists: it changes with every version and alias. */
export const recordTag = ({ versions, aliases }: ModelRecord): string =>
  sha256OfText(JSON.stringify([versions, aliases]))

/** Lists the records of all models that have versions. */
export async function* listRecords(storage: Storage): AsyncGenerator<ModelRecord> {
  for await (const { key } of listAll(storage, keys.records)) {
    const name = keys.nameOf(key)
    const record = name === null ? null : await findRecord(storage, name)
    if (record !== null) yield record
  }
}

/** Finds a version like `findManifestText` and parses its manifest. */
export async function findVersion(storage: Storage, name: string, reference?: string): Promise<ModelVersion> {
  const stored = await findManifestText(storage, name, reference)
  return { ...stored, manifest: parseManifest(stored.text, `${name} ${stored.version}`) }
}

/**
 * Finds a version of a model and reads its manifest as text.
 * @param reference an alias, a version, or at least the first 12 digits of a version
 * @throws RegistryError that lists the known models or versions
 */
export async function findManifestText(
  storage: Storage,
  name: string,
  reference = 'latest',
): Promise<Omit<ModelVersion, 'manifest'>> {
  const record = await findRecord(storage, name)
  if (record === null) throw await unknownModelError(storage, name)
  const version = resolveVersion(record, reference)
  if (version === null) throw unknownVersionError(record, reference)
  const stored = await readText(storage, keys.file(version))
  if (stored === null) {
    throw new Error(`The manifest ${version} of ${name} is missing from the store. Publish the model again.`)
  }
  return { record, version, text: stored.text }
}

/** Maximum number of names in the error for an unknown model. */
const maxNames = 5

/** Creates the error for an unknown model. It lists some published models. Costs at most three reads of the store. */
export async function unknownModelError(storage: Storage, name: string): Promise<RegistryError> {
  const former = keys.formerManifest(name)
  if ((await storage.head(former)) !== null) {
    return new RegistryError(
      'unknown model',
      `Cannot read ${name}: it was published in the layout before models had versions (expected ` +
        `"${keys.record(name)}" in the store, got "${former}"). Publish it again: npm run publish -- FOLDER --name ${name}`,
    )
  }
  // Only reads the index, without completing it: anyone can request unknown models.
  const { lines, covered } = await readIndex(storage)
  const names = lines.slice(0, maxNames).map(nameOf)
  const isComplete = covered === null && lines.length === names.length
  const known =
    names.length === 0
      ? isComplete
        ? 'No model is published here yet. Publish one: npm run publish -- FOLDER'
        : 'The published models are listed at GET /api/models.'
      : `Published models: ${names.join(', ')}${isComplete ? '' : ', … (all of them: GET /api/models)'}.`
  return new RegistryError('unknown model', `Unknown model "${name}". ${known}`)
}

function unknownVersionError({ name, aliases, versions }: ModelRecord, reference: string): RegistryError {
  const known = [...Object.keys(aliases), ...versions.map(({ version }) => version.slice(0, 12))].join(', ')
  return new RegistryError(
    'unknown version',
    `Unknown version "${reference}" of ${name}: expected one of ${known}.`,
  )
}

/**
 * Points an alias at another version of a model, in one write. Moving `latest` back is a rollback.
 * @param check receives the version that the alias points at
 * @returns the version that the alias now points at
 */
export async function moveAlias(
  storage: Storage,
  name: string,
  alias: string,
  reference: string,
  check: VersionCheck = () => {},
): Promise<string> {
  const { version, manifest } = await findVersion(storage, name, reference)
  await updateRecord(storage, name, (current) => {
    check(current.aliases[alias] ?? null)
    const published = current.versions.find((each) => each.version === version)?.published
    if (published === undefined) throw unknownVersionError(current, reference)
    const summary = alias === 'latest' ? summarize(manifest, version, published) : current.summary
    return { ...current, aliases: { ...current.aliases, [alias]: version }, summary }
  })
  if (alias === 'latest') await updateIndex(storage, name)
  return version
}

/**
 * Unpublishes a version of a model, or all of them. Its files remain available under their hashes until the next
 * garbage collection.
 * @param reference to a version. Default: all versions.
 * @param options.check receives this version, or the latest one
 * @param options.purge purges the model's addresses from the cache in front of the server
 */
export async function unpublish(
  storage: Storage,
  name: string,
  reference?: string,
  { check = () => {}, purge }: { check?: VersionCheck; purge?: Purge | undefined } = {},
): Promise<void> {
  if ((await findRecord(storage, name)) === null) {
    // An earlier call may have ended before it updated the index.
    await updateIndex(storage, name)
    throw await unknownModelError(storage, name)
  }
  await updateRecord(storage, name, async (current) => {
    const removed = reference === undefined ? null : resolveVersion(current, reference)
    if (reference !== undefined && removed === null) throw unknownVersionError(current, reference)
    check(removed ?? current.aliases['latest'] ?? null)
    const all = current.versions.map(({ version }) => version)
    await planPurge(storage, purge, removed === null ? all : [removed])
    const versions = removed === null ? [] : current.versions.filter(({ version }) => version !== removed)
    const last = versions.at(-1)
    if (last === undefined) return { ...current, versions: [], aliases: {}, summary: null }
    const aliases = Object.fromEntries(
      Object.entries(current.aliases).filter(([, version]) => version !== removed),
    )
    if (aliases['latest'] !== undefined) return { ...current, versions, aliases }
    // `latest` was removed: the newest remaining version replaces it.
    const { manifest } = await findVersion(storage, name, last.version)
    const summary = summarize(manifest, last.version, last.published)
    return { ...current, versions, aliases: { ...aliases, latest: last.version }, summary }
  })
  await updateIndex(storage, name)
  await purgePlanned(storage, purge)
}
