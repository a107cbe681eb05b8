// The store's side of publishing, in three steps. Each step may be repeated:
//
//   1. `begin` announces a version and lists the files that are missing.
//   2. `putFile` stores these files under their hashes.
//   3. `commit` stores the manifest, then adds the version and moves the aliases in one write of the record, and then
//      updates the list of models.
//
// Visitors see the old version until the last write. An interrupted publisher leaves only files that nothing
// references, and can start again: files that exist are not uploaded twice. The client's side, with the whole path of a
// publication, is `edge/commands/publishing/publish-model.ts`.
import { createHash } from 'node:crypto'
import { type Manifest, type ManifestFile, parseManifest } from '@ddpm/shared'
import { type Content, readText, type Storage } from '../storage/storage.ts'
import { RegistryError } from './errors.ts'
import { keys } from './keys.ts'
import { assertNotCollecting, publicationHours } from './locks.ts'
import { updateIndex } from './model-index.ts'
import { type Purge, planPurge, purgePlanned } from './purging.ts'
import { readRecord, summarize, updateRecord, type VersionCheck } from './record.ts'
import { verifyFile } from './verification.ts'

/** Effect of a commit on the model. */
export type Change = 'new' | 'changed' | 'unchanged'

/** Returns the SHA-256 of a text in hexadecimal. The version of a manifest is the SHA-256 of its text. */
export const sha256OfText = (text: string): string => createHash('sha256').update(text).digest('hex')

const json = { mediaType: 'application/json' }

/**
 * Announces a version, which protects its files from garbage collection, and lists its missing files.
 * @param text the manifest exactly as it is to be stored; its SHA-256 is the version
 * @throws UserError if the text is not a valid manifest
 * @throws RegistryError "busy" during a garbage collection
 */
export async function begin(
  storage: Storage,
  text: string,
): Promise<{ version: string; manifest: Manifest; missing: ManifestFile[] }> {
  const manifest = parseManifest(text, 'manifest.json')
  const version = sha256OfText(text)
  await storage.put(keys.publication(version), text, json)
  // Checked after the announcement: a collection that starts later will read the announcement.
  await assertNotCollecting(storage)
  return { version, manifest, missing: await listMissingFiles(storage, manifest) }
}

/** Returns whether a file is stored with its full length. */
export async function hasFile(
  storage: Storage,
  { sha256, bytes }: { sha256: string; bytes: number },
): Promise<boolean> {
  return (await storage.head(keys.file(sha256)))?.bytes === bytes
}

async function listMissingFiles(storage: Storage, { files }: Manifest): Promise<ManifestFile[]> {
  const stored = await Promise.all(files.map((file) => hasFile(storage, file)))
  return files.filter((_, i) => !stored[i])
}

/**
 * Stores a file under its hash, unless it is stored already. Reads the stored file completely, and replaces it if it is
 * damaged.
 * @param content called only if the file is to be written
 * @param purge purges a damaged file from the cache in front of the server
 * @returns whether the file was written
 * @throws ContentMismatch if the content does not have this hash or length. Nothing is stored then.
 */
export async function putFile(
  storage: Storage,
  file: { sha256: string; bytes: number; mediaType: string },
  content: () => Content,
  purge?: Purge,
): Promise<boolean> {
  const state = await verifyFile(storage, file)
  if (state === 'intact') return false
  await replaceFile(storage, file, state, content(), purge)
  return true
}

/**
 * Stores a file that is missing or damaged.
 * @throws ContentMismatch as `putFile`
 */
export async function replaceFile(
  storage: Storage,
  { sha256, bytes, mediaType }: { sha256: string; bytes: number; mediaType: string },
  state: 'missing' | 'damaged',
  content: Content,
  purge?: Purge,
): Promise<void> {
  if (state === 'damaged') await planPurge(storage, purge, [sha256])
  await storage.put(keys.file(sha256), content, { sha256, bytes, mediaType })
  if (state === 'damaged') await purgePlanned(storage, purge)
}

/**
 * Publishes an announced version: stores the manifest, then updates versions and aliases in one write.
 * @param options.check receives the version if it is published already, or null
 * @param options.purge purges a damaged manifest from the cache in front of the server
 * @throws RegistryError if the version was not announced under this name, or files are missing
 */
export async function commit(
  storage: Storage,
  name: string,
  version: string,
  aliases: readonly string[],
  {
    now = new Date(),
    check = () => {},
    purge,
  }: { now?: Date; check?: VersionCheck; purge?: Purge | undefined } = {},
): Promise<Change> {
  const { text, manifest } = await readAnnouncement(storage, name, version, now)
  const missing = await listMissingFiles(storage, manifest)
  if (missing.length > 0) {
    const names = missing.map(({ path, sha256 }) => `${path} (${sha256})`).join(', ')
    throw new RegistryError(
      'missing files',
      `Missing files of ${name}: ${names}. Upload them before the commit.`,
    )
  }
  const bytes = new TextEncoder().encode(text).length
  await putFile(storage, { ...json, sha256: version, bytes }, () => text, purge)
  let outcome: Change = 'unchanged'
  await updateRecord(storage, name, (current) => {
    const known = current.versions.find((each) => each.version === version)
    check(known?.version ?? null)
    const published = known?.published ?? now.toISOString()
    const moved = ['latest', ...aliases].filter((alias) => current.aliases[alias] !== version)
    outcome = current.versions.length === 0 ? 'new' : known && moved.length === 0 ? 'unchanged' : 'changed'
    if (outcome === 'unchanged') return null
    return {
      ...current,
      versions: known ? current.versions : [...current.versions, { version, published }],
      aliases: { ...current.aliases, ...Object.fromEntries(moved.map((alias) => [alias, version])) },
      summary: summarize(manifest, version, published),
    }
  })
  // Also if the record is unchanged: an earlier call may have ended before it updated the index.
  await updateIndex(storage, name)
  await storage.remove([keys.publication(version), keys.formerManifest(name)])
  return outcome
}

async function readAnnouncement(
  storage: Storage,
  name: string,
  version: string,
  now: Date,
): Promise<{ text: string; manifest: Manifest }> {
  const announcement = await storage.read(keys.publication(version))
  if (announcement === null) {
    // The version may be committed already: clients repeat the request if they did not receive the response.
    const stored = await readRecord(storage, name)
    const text = stored?.record.versions.some((each) => each.version === version)
      ? (await readText(storage, keys.file(version)))?.text
      : undefined
    if (text !== undefined) return { text, manifest: parseManifest(text, 'manifest.json') }
    throw new RegistryError(
      'unknown version',
      `Unknown version ${version} of ${name}: it was not announced. Publish it again.`,
    )
  }
  const text = await new Response(announcement.body).text()
  const manifest = parseManifest(text, 'manifest.json')
  if (manifest.name !== name) {
    throw new RegistryError(
      'invalid',
      `Invalid name of version ${version}: expected ${manifest.name}, as announced, got ${name}.`,
    )
  }
  if (now.getTime() - announcement.info.modified.getTime() > (publicationHours / 2) * 3_600_000) {
    throw new RegistryError(
      'conflict',
      `Cannot commit version ${version}: it was announced more than ${publicationHours / 2} hours ago. ` +
        'Publish it again.',
    )
  }
  return { text, manifest }
}
