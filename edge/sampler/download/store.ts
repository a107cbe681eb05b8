import { SamplerError } from '../base/errors.ts'

// What this browser keeps. Whole files lie in the Cache API, under their addresses: there the page, every worker and
// the service worker find them, and answers are streamed to and from the disk. It takes whole answers only, so that
// what has arrived of a file lies in the origin's private file system (OPFS) until the rest has.

/** A file at `files/<sha256>` of a server. */
export interface HashedFile {
  readonly sha256: string
  readonly bytes: number
  /** Whether it is left to the browser's own cache as well: see `compiledBefore`. */
  readonly compiles?: boolean
  /** What it is for. One file is kept for each purpose: a model's new version replaces the old one. */
  readonly purpose: string
}

/** What a file of a server is kept for: a model, or a build of onnxruntime. Several may share an origin. */
export const purposeOf = (server: string, what: string): string => `${server}/${what}`

const cacheName = 'ddpm-files'
const partsFolder = 'ddpm-parts'
const purposeHeader = 'X-Purpose'

/**
 * WebAssembly that is kept, compiled from what the browser's own cache has of it, checked. With an answer of that cache
 * browsers keep what they compiled, and with bytes they do not: a later visit is half a second faster.
 * @param url of this origin: of others a browser does not tell what it has
 * @returns null where that cache has lost it, or it does not compile
 */
export async function compiledBefore(url: string, sha256: string): Promise<WebAssembly.Module | null> {
  const cache = await openCache()
  if (!(await cache?.match(url))) return null
  const digest = sha256.replace(/../g, (byte) => String.fromCharCode(Number.parseInt(byte, 16)))
  const options = { cache: 'only-if-cached', mode: 'same-origin' } as const
  try {
    return await WebAssembly.compileStreaming(fetch(url, { ...options, integrity: `sha256-${btoa(digest)}` }))
  } catch {
    return null
  }
}

/** A kept file, checked; null where there is none. One that is damaged is thrown away. */
export async function findCached(url: string, sha256: string): Promise<Uint8Array<ArrayBuffer> | null> {
  const cache = await openCache()
  const found = await cache?.match(url)
  if (!cache || !found) return null
  const contents = await found.arrayBuffer().catch(() => new ArrayBuffer(0))
  if ((await sha256Of(contents)) === sha256) return new Uint8Array(contents)
  await cache.delete(url)
  return null
}

/**
 * Keeps a file, in place of others with its purpose.
 * @returns whether there was room
 */
export async function cacheFile(
  url: string,
  { purpose, bytes }: HashedFile,
  contents: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  const cache = await openCache()
  if (!cache) return false
  const headers = { 'Content-Length': String(bytes), [purposeHeader]: purpose }
  const before = await entries(cache)
  try {
    await cache.put(url, new Response(contents, { headers }))
  } catch {
    return false
  }
  const replaced = before.filter((entry) => entry.purpose === purpose && entry.url !== url)
  await Promise.all(replaced.map((entry) => cache.delete(entry.url)))
  return true
}

export interface CacheInfo {
  readonly files: { readonly sha256: string; readonly bytes: number }[]
  /** Of all files, those half received included. */
  readonly bytes: number
  /** What the browser lets this page's origin keep, roughly; null where it does not say. */
  readonly quota: number | null
  /** Whether the browser has promised not to clear it by itself. */
  readonly persisted: boolean
}

/** What is kept of models and onnxruntime for this page's origin. */
export async function cacheInfo(): Promise<CacheInfo> {
  const cache = await openCache()
  const kept = cache ? await entries(cache) : []
  const files = kept.map(({ sha256, bytes }) => ({ sha256, bytes }))
  const storage = navigator.storage
  const partial = await partialBytes()
  return {
    files,
    bytes: files.reduce((sum, { bytes }) => sum + bytes, partial),
    quota: (await storage?.estimate?.().catch(() => null))?.quota ?? null,
    persisted: (await storage?.persisted?.().catch(() => false)) ?? false,
  }
}

/** Throws away what is kept for a purpose, or everything. */
export async function purgeCached(purpose?: string): Promise<void> {
  const cache = await openCache()
  if (purpose === undefined) {
    await caches?.delete(cacheName)
    await (await privateRoot())?.removeEntry(partsFolder, { recursive: true }).catch(() => {})
    return
  }
  const all = cache ? await entries(cache) : []
  const meant = all.filter((entry) => entry.purpose === purpose)
  await Promise.all(meant.map(({ url }) => cache!.delete(url)))
}

async function entries(
  cache: Cache,
): Promise<{ url: string; sha256: string; bytes: number; purpose: string | null }[]> {
  const requests = await cache.keys()
  return Promise.all(
    requests.map(async ({ url }) => {
      const headers = (await cache.match(url))?.headers
      const bytes = Number(headers?.get('Content-Length') ?? 0)
      return { url, sha256: url.slice(-64), bytes, purpose: headers?.get(purposeHeader) ?? null }
    }),
  )
}

/** What has arrived of a file. In memory, and where the browser can, on the disk for the next visit. */
export interface Part {
  readonly contents: Uint8Array<ArrayBuffer>
  readonly received: number
  /** @throws SamplerError 'hash-mismatch' where it is more than the whole */
  add(chunk: Uint8Array): void
  /** Nothing of it counts any more. */
  clear(): void
  /** Lets go of the disk; the file stays there unless it is finished with. */
  close(finished: boolean): Promise<void>
}

/** @param onDisk whether what arrived earlier counts, and what arrives is kept */
export async function openPart({ sha256, bytes }: HashedFile, onDisk: boolean): Promise<Part> {
  const contents = new Uint8Array(bytes)
  const folder = onDisk ? await openParts() : null
  let disk = await openHandle(folder, sha256)
  let received = disk && disk.getSize() <= bytes ? disk.read(contents, { at: 0 }) : 0
  if (received === 0) disk?.truncate(0)
  return {
    contents,
    get received() {
      return received
    },
    add(chunk) {
      if (received + chunk.length > bytes) {
        const found = `The file ${sha256} has more than the ${bytes} bytes that its manifest says`
        throw new SamplerError('hash-mismatch', `${found}. The model has to be published again.`)
      }
      contents.set(chunk, received)
      try {
        disk?.write(chunk, { at: received })
      } catch {
        // The disk is full: what is in memory is enough as long as the page lives.
        disk?.close()
        disk = null
      }
      received += chunk.length
    },
    clear() {
      received = 0
      disk?.truncate(0)
    },
    async close(finished) {
      disk?.close()
      if (finished) await folder?.removeEntry(sha256).catch(() => {})
    },
  }
}

async function openHandle(
  folder: FileSystemDirectoryHandle | null,
  name: string,
): Promise<FileSystemSyncAccessHandle | null> {
  try {
    const file = await folder?.getFileHandle(name, { create: true })
    return (await file?.createSyncAccessHandle()) ?? null
  } catch {
    return null
  }
}

async function openParts(): Promise<FileSystemDirectoryHandle | null> {
  return (await privateRoot())?.getDirectoryHandle(partsFolder, { create: true }).catch(() => null) ?? null
}

async function partialBytes(): Promise<number> {
  const folder = await (await privateRoot())?.getDirectoryHandle(partsFolder).catch(() => null)
  let sum = 0
  for await (const handle of folder?.values() ?? []) {
    if (handle.kind === 'file') sum += (await (handle as FileSystemFileHandle).getFile()).size
  }
  return sum
}

/** Browsers may refuse either store, to private windows above all. */
async function openCache(): Promise<Cache | null> {
  try {
    return await caches.open(cacheName)
  } catch {
    return null
  }
}

async function privateRoot(): Promise<FileSystemDirectoryHandle | null> {
  try {
    return await navigator.storage.getDirectory()
  } catch {
    return null
  }
}

/** In hexadecimal. */
export async function sha256Of(contents: BufferSource): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', contents))
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
