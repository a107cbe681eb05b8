// Publishing in three steps, each of which may be repeated: `begin` says which files are missing, these are put
// under their hashes, `commit` stores the manifest and then moves the aliases in one write. A visitor sees the old
// model or the new; a publisher that is killed leaves what nobody sees, and begins again where it stopped.
import { createHash } from 'node:crypto'
import { type Manifest, type ManifestFile, parseManifest } from '@ddpm/shared'
import { type Content, readText, type Storage } from '../storage/storage.ts'
import { Refusal } from './errors.ts'
import { keys } from './keys.ts'
import { publicationHours, refuseWhileCollecting } from './locks.ts'
import { changeRecord, readRecord, summaryOf } from './record.ts'

/** What a commit did to the model. */
export type Change = 'new' | 'changed' | 'unchanged'

export const sha256Of = (text: string): string => createHash('sha256').update(text).digest('hex')

const json = { mediaType: 'application/json' }

/**
 * Announces a version, so that no collection takes its files, and says which are missing.
 * @param text the manifest as it is to be stored; its SHA-256 is the version
 * @throws UserError where it is no manifest; Refusal while garbage is collected
 */
export async function begin(
  storage: Storage,
  text: string,
): Promise<{ version: string; manifest: Manifest; missing: ManifestFile[] }> {
  const manifest = parseManifest(text, 'The manifest')
  const version = sha256Of(text)
  await storage.put(keys.publication(version), text, json)
  // After the announcement: a collection that this does not see has yet to read the announcements.
  await refuseWhileCollecting(storage)
  return { version, manifest, missing: await missingFiles(storage, manifest) }
}

/** Whether a file is there, whole. */
export async function hasFile(
  storage: Storage,
  { sha256, bytes }: { sha256: string; bytes: number },
): Promise<boolean> {
  return (await storage.facts(keys.file(sha256)))?.bytes === bytes
}

async function missingFiles(storage: Storage, { files }: Manifest): Promise<ManifestFile[]> {
  const there = await Promise.all(files.map((file) => hasFile(storage, file)))
  return files.filter((_, i) => !there[i])
}

/**
 * Stores a file under its hash, once: what is there stays.
 * @returns whether it was written
 * @throws Mismatch where the contents are not what the hash promises; nothing of them is to be seen then
 */
export async function putFile(
  storage: Storage,
  file: { sha256: string; bytes: number; mediaType: string },
  content: () => Content,
): Promise<boolean> {
  if (await hasFile(storage, file)) return false
  const { sha256, bytes, mediaType } = file
  await storage.put(keys.file(sha256), content(), { sha256, bytes, mediaType })
  return true
}

/**
 * Publishes what `begin` announced: the manifest, then version and aliases in one write.
 * @throws Refusal where it was not announced, another name was, or files are missing
 */
export async function commit(
  storage: Storage,
  name: string,
  version: string,
  aliases: readonly string[],
  now: Date = new Date(),
): Promise<Change> {
  const { text, manifest } = await announced(storage, name, version, now)
  const missing = await missingFiles(storage, manifest)
  if (missing.length > 0) {
    const names = missing.map(({ path, sha256 }) => `${path} (${sha256})`).join(', ')
    throw new Refusal(
      'missing files',
      `The manifest names files that are not here yet: ${names}. Send them first.`,
    )
  }
  await storage.put(keys.file(version), text, { ...json, sha256: version })
  let outcome: Change = 'unchanged'
  await changeRecord(storage, name, (present) => {
    const known = present.versions.find((each) => each.version === version)
    const published = known?.published ?? now.toISOString()
    const moved = ['latest', ...aliases].filter((alias) => present.aliases[alias] !== version)
    outcome = present.versions.length === 0 ? 'new' : known && moved.length === 0 ? 'unchanged' : 'changed'
    if (outcome === 'unchanged') return null
    return {
      ...present,
      versions: known ? present.versions : [...present.versions, { version, published }],
      aliases: { ...present.aliases, ...Object.fromEntries(moved.map((alias) => [alias, version])) },
      summary: summaryOf(manifest, version, published),
    }
  })
  await storage.remove([keys.publication(version), keys.formerManifest(name)])
  return outcome
}

async function announced(
  storage: Storage,
  name: string,
  version: string,
  now: Date,
): Promise<{ text: string; manifest: Manifest }> {
  const found = await storage.read(keys.publication(version))
  if (found === null) {
    // Committed already, and asked again because the answer was lost.
    const stored = await readRecord(storage, name)
    const text = stored?.record.versions.some((each) => each.version === version)
      ? (await readText(storage, keys.file(version)))?.text
      : undefined
    if (text !== undefined) return { text, manifest: parseManifest(text, 'The manifest') }
    throw new Refusal(
      'unknown version',
      `Version ${version} of ${name} was not announced; begin to publish it again.`,
    )
  }
  const text = await new Response(found.body).text()
  const manifest = parseManifest(text, 'The manifest')
  if (manifest.name !== name) {
    throw new Refusal('invalid', `Version ${version} was announced as ${manifest.name}, not as ${name}.`)
  }
  if (now.getTime() - found.facts.modified.getTime() > (publicationHours / 2) * 3_600_000) {
    throw new Refusal('conflict', `Version ${version} was announced too long ago; begin to publish it again.`)
  }
  return { text, manifest }
}
