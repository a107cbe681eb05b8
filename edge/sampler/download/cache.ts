import { computeSha256, type HashedFile } from '../base/hashed-file.ts'
import { partialBytes, purgePartialFiles } from './partial-file.ts'

// Complete files are stored in the Cache API, under their URLs. The page, the workers and the service worker can all
// access it, and it streams responses to and from the disk.

const cacheName = 'ddpm-files'
const purposeHeader = 'X-Purpose'
const hashHeader = 'X-SHA-256'

/** Returns a cached file after checking its hash, or null. A damaged file is deleted from the cache. */
export async function findCached({
  url,
  cacheUrl = url,
  sha256,
}: HashedFile): Promise<Uint8Array<ArrayBuffer> | null> {
  const cache = await openCache()
  const response = await cache?.match(cacheUrl)
  if (!cache || !response) return null
  const contents = await response.arrayBuffer().catch(() => new ArrayBuffer(0))
  if ((await computeSha256(contents)) === sha256) return new Uint8Array(contents)
  await cache.delete(cacheUrl)
  return null
}

/** Returns whether the file at a URL is cached, without checking its content. */
export async function isCached(url: string): Promise<boolean> {
  return (await (await openCache())?.match(url)) !== undefined
}

/**
 * Adds a file to the cache and deletes other files with the same purpose.
 * @returns false if the browser has no room, or no cache
 */
export async function cacheFile(
  { url, cacheUrl = url, sha256, purpose, bytes }: HashedFile,
  contents: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  const cache = await openCache()
  if (!cache) return false
  const headers = { 'Content-Length': String(bytes), [purposeHeader]: purpose, [hashHeader]: sha256 }
  const before = await listEntries(cache)
  try {
    await cache.put(cacheUrl, new Response(contents, { headers }))
  } catch {
    return false
  }
  const replaced = before.filter((entry) => entry.purpose === purpose && entry.url !== cacheUrl)
  await Promise.all(replaced.map((entry) => cache.delete(entry.url)))
  return true
}

export interface CacheInfo {
  readonly files: { readonly sha256: string; readonly bytes: number }[]
  /** Size of all files, including partial downloads. */
  readonly bytes: number
  /** Approximate storage quota of the page's origin in bytes; null if the browser does not report it. */
  readonly quota: number | null
  /** Whether the browser has promised not to clear the storage automatically. */
  readonly persisted: boolean
}

/** Returns the cached files of models and onnxruntime for the page's origin. */
export async function cacheInfo(): Promise<CacheInfo> {
  const cache = await openCache()
  const entries = cache ? await listEntries(cache) : []
  const files = entries.map(({ sha256, bytes }) => ({ sha256, bytes }))
  const storage = navigator.storage
  const partial = await partialBytes()
  return {
    files,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, partial),
    quota: (await storage?.estimate?.().catch(() => null))?.quota ?? null,
    persisted: (await storage?.persisted?.().catch(() => false)) ?? false,
  }
}

/** Deletes the cached files with a purpose. Without a purpose, deletes all files and partial downloads. */
export async function purgeCache(purpose?: string): Promise<void> {
  const cache = await openCache()
  if (purpose === undefined) {
    await caches?.delete(cacheName)
    await purgePartialFiles()
    return
  }
  const entries = cache ? await listEntries(cache) : []
  const matching = entries.filter((entry) => entry.purpose === purpose)
  await Promise.all(matching.map(({ url }) => cache!.delete(url)))
}

interface Entry {
  readonly url: string
  readonly sha256: string
  readonly bytes: number
  readonly purpose: string | null
}

async function listEntries(cache: Cache): Promise<Entry[]> {
  const requests = await cache.keys()
  return Promise.all(
    requests.map(async ({ url }) => {
      const headers = (await cache.match(url))?.headers
      const bytes = Number(headers?.get('Content-Length') ?? 0)
      // Version 0.1.0 wrote no hash. Its addresses end with it.
      const sha256 = headers?.get(hashHeader) ?? url.slice(-64)
      return { url, sha256, bytes, purpose: headers?.get(purposeHeader) ?? null }
    }),
  )
}

/** Browsers may refuse access, for example in private windows. */
async function openCache(): Promise<Cache | null> {
  try {
    return await caches.open(cacheName)
  } catch {
    return null
  }
}
