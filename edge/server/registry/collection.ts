// Garbage collection. It cannot take a file that a publication is about to name, whatever their order:
//
//   publisher:  announce → look for the collection's lock → look which files are there → … → record → unannounce
//   collection: lock → read announcements → read records → list files → remove what neither names → unlock
//
// Either the publisher sees the lock, and waits; or it announced before the collection read the announcements, and
// its files are kept. Announcements are read before records, because a commit moves files from the one to the other.
import { parseManifest, UserError } from '@ddpm/shared'
import * as z from 'zod'
import { listAll, readText, type Storage } from '../storage/storage.ts'
import { Refusal } from './errors.ts'
import { keys } from './keys.ts'
import { lockMinutes, lockOut, publicationHours } from './locks.ts'
import { readRecord } from './record.ts'

/** So many files are removed between two looks at the clock. */
const batch = 100

export interface Collected {
  /** Files that nothing names any more, largest first. */
  readonly removed: { readonly sha256: string; readonly bytes: number }[]
  readonly bytes: number
  readonly kept: number
}

export interface CollectOptions {
  /** Only say what would be removed. */
  readonly dryRun?: boolean
  /** Files written later than so many days ago stay. */
  readonly keepDays?: number
  readonly clock?: () => Date
}

/**
 * Removes files that no version of a model, no publication under way and no page needs.
 * @throws Refusal while another collection is under way; UserError where a manifest cannot be read: then nothing is
 * removed, for who knows what it names
 */
export async function collect(
  storage: Storage,
  { dryRun = false, keepDays = 1, clock = () => new Date() }: CollectOptions = {},
): Promise<Collected> {
  const begun = clock()
  const release = await lockOut(storage, begun)
  try {
    const needed = new Set([
      ...(await announcedFiles(storage, begun)),
      ...(await publishedFiles(storage)),
      ...(await runtimeFiles(storage)),
    ])
    const before = begun.getTime() - keepDays * 86_400_000
    const garbage = []
    let kept = 0
    for await (const { key, bytes, modified } of listAll(storage, keys.files)) {
      if (needed.has(keys.fileOf(key)) || modified.getTime() > before) kept++
      else garbage.push({ key, sha256: keys.fileOf(key), bytes })
    }
    for await (const { key, bytes, modified } of listAll(storage, keys.uploads)) {
      if (modified.getTime() <= begun.getTime() - publicationHours * 3_600_000) {
        garbage.push({ key, sha256: key.split('/')[1]!, bytes })
      }
    }
    for (let from = 0; from < garbage.length && !dryRun; from += batch) {
      if (clock().getTime() - begun.getTime() > (lockMinutes / 2) * 60_000) {
        throw new Refusal('busy', 'Removing unused files took too long and stopped halfway; run it again.')
      }
      await storage.remove(garbage.slice(from, from + batch).map(({ key }) => key))
    }
    const removed = garbage.map(({ sha256, bytes }) => ({ sha256, bytes })).sort((a, b) => b.bytes - a.bytes)
    return { removed, bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0), kept }
  } finally {
    await release()
  }
}

/** Files of publications under way; those given up are forgotten. */
async function announcedFiles(storage: Storage, now: Date): Promise<string[]> {
  const needed: string[] = []
  for await (const { key, modified } of listAll(storage, keys.publications)) {
    if (now.getTime() - modified.getTime() > publicationHours * 3_600_000) {
      await storage.remove([key])
      continue
    }
    const stored = await readText(storage, key)
    // Committed between the list and here: its record is read next.
    if (stored === null) continue
    const version = key.slice(keys.publications.length, -'.json'.length)
    needed.push(version, ...parseManifest(stored.text, key).files.map(({ sha256 }) => sha256))
  }
  return needed
}

async function publishedFiles(storage: Storage): Promise<string[]> {
  const needed: string[] = []
  for await (const { key } of listAll(storage, keys.records)) {
    const name = keys.nameOf(key)
    const stored = name === null ? null : await readRecord(storage, name)
    for (const { version } of stored?.record.versions ?? []) {
      needed.push(version)
      const manifest = await readText(storage, keys.file(version))
      if (manifest === null) {
        throw new UserError(
          `The manifest ${version} of ${name} is missing from the store, and with it what it names: nothing was ` +
            `removed. Publish that version again, or take it back: npm run publish -- unpublish ${name} ${version}`,
        )
      }
      needed.push(...parseManifest(manifest.text, `${name} ${version}`).files.map(({ sha256 }) => sha256))
    }
  }
  return needed
}

/** What `sendRuntime` writes. */
export const runtimeRecord = z.array(z.object({ sha256: z.string(), bytes: z.int(), mediaType: z.string() }))

async function runtimeFiles(storage: Storage): Promise<string[]> {
  const stored = await readText(storage, keys.runtime)
  return stored === null ? [] : runtimeRecord.parse(JSON.parse(stored.text)).map(({ sha256 }) => sha256)
}
