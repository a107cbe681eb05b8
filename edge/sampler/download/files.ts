import { SamplerError } from '../base/errors.ts'
import { computeSha256, type HashedFile } from '../base/hashed-file.ts'
import type { DownloadProgress } from '../base/protocol.ts'
import { createTimeEstimate } from '../base/time-estimate.ts'
import { cacheFile, findCached } from './cache.ts'
import { type DownloadListener, download } from './download.ts'
import { openPartialFile } from './partial-file.ts'

export interface FetchOptions {
  /** true: fail if a file cannot be cached; false: do not use the cache; null: cache files if there is room. */
  readonly cache: boolean | null
  readonly onProgress: (progress: DownloadProgress) => void
  /** Called for each file that the browser had no room to cache. */
  readonly onUncached: (reason: string) => void
}

/**
 * Returns the contents of files, from this browser's cache or from the server. Checks every hash before a file is
 * returned or cached. If several tabs need the same file, only one of them downloads it.
 * @throws SamplerError 'offline', 'server', 'not-found' if a download fails; 'hash-mismatch' for wrong contents;
 * 'quota-exceeded' if there is no room for a file that must be cached; 'insecure' if the page is not a secure context
 */
export async function fetchFiles(
  files: readonly HashedFile[],
  { cache, onProgress, onUncached }: FetchOptions,
): Promise<Uint8Array<ArrayBuffer>[]> {
  if (!globalThis.crypto?.subtle) {
    throw new SamplerError(
      'insecure',
      'Cannot verify downloads: this page is not a secure context. Open it through https or localhost.',
    )
  }
  const find = (file: HashedFile) => (cache === false ? null : findCached(file))
  const cached = await Promise.all(files.map(find))
  const missing = files.filter((_, i) => !cached[i])
  const progress = new Map(missing.map((file) => [file, createFileProgress(file)]))
  const secondsLeft = createTimeEstimate()
  const report = () => {
    const sum = (values: number[]) => Math.round(values.reduce((total, value) => total + value, 0))
    const all = [...progress.values()]
    const total = sum(all.map(({ wireBytes }) => wireBytes))
    const loaded = sum(all.map(({ loaded }) => loaded))
    onProgress({ stage: 'download', loaded, total, secondsLeft: secondsLeft(loaded, total) })
  }

  const uncached: { file: HashedFile; contents: Uint8Array<ArrayBuffer> }[] = []
  const fetchFile = async (file: HashedFile): Promise<Uint8Array<ArrayBuffer>> => {
    const { onBytes, onWireBytes } = progress.get(file)!
    const listener = {
      onWireBytes,
      onBytes(count: number) {
        onBytes(count)
        report()
      },
    }
    // Another tab may have downloaded the file while this one waited for the lock.
    const present = await find(file)
    if (present) {
      listener.onBytes(file.bytes)
      return present
    }
    const contents = await downloadVerified(file, cache !== false, listener)
    if (cache !== false && !(await cacheFile(file, contents))) uncached.push({ file, contents })
    return contents
  }
  const locked = <T>({ sha256 }: HashedFile, action: () => Promise<T>) =>
    withLock(`ddpm file ${sha256}`, action)
  const results = await Promise.all(files.map((file, i) => cached[i] ?? locked(file, () => fetchFile(file))))

  // Retry, smallest file first: partial downloads of other files may have used the room. They are deleted now.
  for (const { file, contents } of uncached.sort((a, b) => a.contents.length - b.contents.length)) {
    const store = async () => (await find(file)) !== null || cacheFile(file, contents)
    if (await locked(file, store)) continue
    const problem = `This browser has no room to cache ${file.url} (${(file.bytes / 1e6).toFixed(1)} MB)`
    if (cache) {
      throw new SamplerError(
        'quota-exceeded',
        `${problem}. Free some storage, or load without "cache: true".`,
      )
    }
    onUncached(`${problem}. The next visit downloads it again.`)
  }
  return results
}

interface FileProgress extends DownloadListener {
  /** Size on the wire: an estimate until the server responds. */
  readonly wireBytes: number
  /** Received bytes, in proportion to the size on the wire: browsers report only decompressed bytes. */
  readonly loaded: number
}

function createFileProgress({ bytes, wireBytes = bytes }: HashedFile): FileProgress {
  let received = 0
  let total = wireBytes
  return {
    get wireBytes() {
      return total
    },
    get loaded() {
      return (received / bytes) * total
    },
    onBytes(count) {
      received += count
    },
    onWireBytes(bytes) {
      total = bytes
    },
  }
}

/** Runs an action while holding a lock that all tabs and workers of the origin share. */
function withLock<T>(name: string, action: () => Promise<T>): Promise<T> {
  return globalThis.navigator?.locks ? navigator.locks.request(name, action) : action()
}

/** Downloads a file and checks its hash. Retries once if the wrong bytes may come from an earlier visit. */
async function downloadVerified(
  file: HashedFile,
  onDisk: boolean,
  listener: DownloadListener,
): Promise<Uint8Array<ArrayBuffer>> {
  const partial = await openPartialFile(file, onDisk)
  let finished = false
  try {
    if (partial.received > 0) listener.onBytes(partial.received)
    // Wrong bytes may come from a partial download on disk or from the browser's HTTP cache.
    let mayRetry = partial.received > 0 || file.inHttpCache === true
    let mode: RequestCache = file.inHttpCache ? 'default' : 'no-store'
    for (;;) {
      try {
        await download(file, partial, listener, mode)
        const sha256 = await computeSha256(partial.contents)
        finished = true
        if (sha256 === file.sha256) return partial.contents
        throw wrongContents(file, sha256)
      } catch (error) {
        if (!mayRetry || !(error instanceof SamplerError && error.code === 'hash-mismatch')) throw error
      }
      listener.onBytes(-partial.received)
      partial.clear()
      mayRetry = finished = false
      if (file.inHttpCache) mode = 'reload'
    }
  } finally {
    await partial.close(finished)
  }
}

function wrongContents({ url, sha256: expected }: HashedFile, actual: string): SamplerError {
  return new SamplerError(
    'hash-mismatch',
    `Wrong contents of ${url}: expected SHA-256 ${expected}, got ${actual}. The file was not cached. Load the model ` +
      'again; if the error persists, the model has to be published again.',
  )
}
