// Garbage collection: removes files that nothing references, and builds the index of models again. It is safe to run
// during a publication, in any interleaving of their steps:
//
//   publisher:  announce → check the collection's lock → check which files exist → … → write record → remove announcement
//   collection: lock → read announcements → read records → list files → remove unreferenced files → unlock
//
// There are two cases. If the publisher finds the lock, it reports "busy". Otherwise it announced its version before
// the collection read the announcements, which protects its files. The collection reads announcements before records,
// because a commit writes the record first and then removes the announcement.
import { parseManifest, UserError } from '@ddpm/shared'
import { listAll, readText, type Storage } from '../storage/storage.ts'
import { RegistryError } from './errors.ts'
import { keys } from './keys.ts'
import { acquireCollectionLock, lockMinutes, publicationHours } from './locks.ts'
import { readIndex, replaceIndex } from './model-index.ts'
import { type Purge, planPurge, purgePlanned } from './purging.ts'
import { type ModelSummary, readRecord } from './record.ts'
import { readRuntimeList } from './runtime-list.ts'

/** Number of files removed between two checks of the time limit. */
const batchSize = 100

export interface CollectionResult {
  /** Unreferenced files, largest first. */
  readonly removed: { readonly sha256: string; readonly bytes: number }[]
  /** Total size of the removed files. */
  readonly bytes: number
  /** Number of files that remain. */
  readonly kept: number
}

export interface CollectOptions {
  /** Only report what would be removed. */
  readonly dryRun?: boolean
  /** Files written within this number of days remain. Default: 1. */
  readonly keepDays?: number
  readonly clock?: () => Date
  /** Purges the removed files from the cache in front of the server, and those of earlier removals that failed. */
  readonly purge?: Purge | undefined
}

/**
 * Removes the files that no model version, no publication in progress and no page references.
 * @throws RegistryError "busy" during another collection
 * @throws UserError if a manifest is missing. Nothing is removed then: the manifest may reference any file.
 */
export async function collectGarbage(
  storage: Storage,
  { dryRun = false, keepDays = 1, clock = () => new Date(), purge }: CollectOptions = {},
): Promise<CollectionResult> {
  const start = clock()
  const release = await acquireCollectionLock(storage, start)
  try {
    const announced = await announcedFiles(storage, start)
    const index = await readIndex(storage)
    const published = await readPublished(storage)
    if (!dryRun) await replaceIndex(storage, index, published.summaries)
    const referenced = new Set([
      ...announced,
      ...published.files,
      ...(await readRuntimeList(storage)).map(({ sha256 }) => sha256),
    ])
    const cutoff = start.getTime() - keepDays * 86_400_000
    const garbage = []
    let kept = 0
    for await (const { key, bytes, modified } of listAll(storage, keys.files)) {
      if (referenced.has(keys.fileOf(key)) || modified.getTime() > cutoff) kept++
      else garbage.push({ key, sha256: keys.fileOf(key), bytes })
    }
    for await (const { key, bytes, modified } of listAll(storage, keys.uploads)) {
      if (modified.getTime() <= start.getTime() - publicationHours * 3_600_000) {
        garbage.push({ key, sha256: key.split('/')[1]!, bytes })
      }
    }
    for (let from = 0; from < garbage.length && !dryRun; from += batchSize) {
      if (clock().getTime() - start.getTime() > (lockMinutes / 2) * 60_000) {
        throw new RegistryError(
          'busy',
          'The garbage collection reached its time limit before the end. Run it again.',
        )
      }
      const batch = garbage.slice(from, from + batchSize)
      const hashes = batch.map(({ sha256 }) => sha256)
      await planPurge(storage, purge, hashes)
      await storage.remove(batch.map(({ key }) => key))
    }
    if (!dryRun) await purgePlanned(storage, purge)
    const removed = garbage.map(({ sha256, bytes }) => ({ sha256, bytes })).sort((a, b) => b.bytes - a.bytes)
    return { removed, bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0), kept }
  } finally {
    await release()
  }
}

/** Lists the files of publications in progress. Removes abandoned publications. */
async function announcedFiles(storage: Storage, now: Date): Promise<string[]> {
  const referenced: string[] = []
  for await (const { key, modified } of listAll(storage, keys.publications)) {
    if (now.getTime() - modified.getTime() > publicationHours * 3_600_000) {
      await storage.remove([key])
      continue
    }
    const stored = await readText(storage, key)
    // The version was committed after the listing. Its record is read next.
    if (stored === null) continue
    const version = key.slice(keys.publications.length, -'.json'.length)
    referenced.push(version, ...parseManifest(stored.text, key).files.map(({ sha256 }) => sha256))
  }
  return referenced
}

/** Reads all records. Returns the files that they reference, and the summaries of the published models. */
async function readPublished(storage: Storage): Promise<{ files: string[]; summaries: ModelSummary[] }> {
  const files: string[] = []
  const summaries: ModelSummary[] = []
  for await (const { key } of listAll(storage, keys.records)) {
    const name = keys.nameOf(key)
    if (name === null) {
      throw new UserError(
        `Cannot collect garbage: "${key}" in the store is not the record of a valid model name, so the files of that ` +
          'model are unknown. Nothing was removed. Remove or rename this object in the store.',
      )
    }
    const stored = await readRecord(storage, name)
    if (stored?.record.summary) summaries.push(stored.record.summary)
    for (const { version } of stored?.record.versions ?? []) {
      files.push(version)
      const manifest = await readText(storage, keys.file(version))
      if (manifest === null) {
        throw new UserError(
          `Cannot collect garbage: the manifest of ${name}, version ${version}, is missing from the store, so its ` +
            'files are unknown. Nothing was removed. Publish this version again, or unpublish it: ' +
            `npm run publish -- unpublish ${name} ${version}`,
        )
      }
      files.push(...parseManifest(manifest.text, `${name} ${version}`).files.map(({ sha256 }) => sha256))
    }
  }
  return { files, summaries }
}
