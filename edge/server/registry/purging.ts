// Purges the shared cache in front of the server, so that removed content is no longer served from there. Responses have
// the header Cache-Tag: the SHA-256 of the file and, at a model's address, its version.
//
// The tags are stored before the removal and deleted after the purge. If a purge fails, the next one repeats it.
import { listAll, readText, type Storage } from '../storage/storage.ts'
import { keys } from './keys.ts'

/**
 * Removes the responses with one of these tags from the cache.
 * @throws if the cache rejects the purge
 */
export type Purge = (tags: readonly string[]) => Promise<void>

/** Maximum number of tags in one purge. Cloudflare's limit. */
const maxTags = 100

/** Stores the tags of a removal that follows. @param purge undefined if the server has no cache in front of it */
export async function planPurge(
  storage: Storage,
  purge: Purge | undefined,
  tags: readonly string[],
): Promise<void> {
  if (purge === undefined) return
  for (let from = 0; from < tags.length; from += maxTags) {
    const text = JSON.stringify(tags.slice(from, from + maxTags))
    await storage.put(keys.purge(crypto.randomUUID()), text, { mediaType: 'application/json' })
  }
}

/** Purges the stored tags of all removals. @throws if the cache rejects it; the rest stays stored then */
export async function purgePlanned(storage: Storage, purge: Purge | undefined): Promise<void> {
  if (purge === undefined) return
  for await (const { key } of listAll(storage, keys.purges)) {
    const stored = await readText(storage, key)
    if (stored === null) continue
    await purge(JSON.parse(stored.text) as string[])
    await storage.remove([key])
  }
}
