import { SamplerError } from '../base/errors.ts'
import type { DownloadProgress } from '../base/protocol.ts'
import { createTimeEstimate } from '../base/time-estimate.ts'
import { cacheFile, findCached } from './cache.ts'
import { download } from './download.ts'
import { computeSha256, fileUrl, type HashedFile } from './hashed-file.ts'
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
  server: string,
  files: readonly HashedFile[],
  { cache, onProgress, onUncached }: FetchOptions,
): Promise<Uint8Array<ArrayBuffer>[]> {
  if (!globalThis.crypto?.subtle) {
    throw new SamplerError(
      'insecure',
      'Cannot verify downloads: this page is not a secure context. Open it through https or localhost.',
    )
  }
  const requests = files.map((file) => ({ file, url: fileUrl(server, file) }))
  type FileRequest = (typeof requests)[number]
  const find = ({ file, url }: FileRequest) => (cache === false ? null : findCached(url, file.sha256))
  const cached = await Promise.all(requests.map(find))
  const total = files.reduce((sum, { bytes }, i) => sum + (cached[i] ? 0 : bytes), 0)
  const secondsLeft = createTimeEstimate()
  let loaded = 0
  const onBytes = (count: number) => {
    loaded += count
    onProgress({ stage: 'download', loaded, total, secondsLeft: secondsLeft(loaded, total) })
  }

  const uncached: { request: FileRequest; contents: Uint8Array<ArrayBuffer> }[] = []
  const fetchFile = async (request: FileRequest): Promise<Uint8Array<ArrayBuffer>> => {
    const { file, url } = request
    // Another tab may have downloaded the file while this one waited for the lock.
    const present = await find(request)
    if (present) {
      onBytes(file.bytes)
      return present
    }
    const contents = await downloadVerified(url, file, cache !== false, onBytes)
    if (cache !== false && !(await cacheFile(url, file, contents))) uncached.push({ request, contents })
    return contents
  }
  const locked = <T>({ file }: FileRequest, action: () => Promise<T>) =>
    withLock(`ddpm file ${file.sha256}`, action)
  const results = await Promise.all(
    requests.map((request, i) => cached[i] ?? locked(request, () => fetchFile(request))),
  )

  // Retry, smallest file first: partial downloads of other files may have used the room. They are deleted now.
  for (const { request, contents } of uncached.sort((a, b) => a.contents.length - b.contents.length)) {
    const { file, url } = request
    const store = async () => (await find(request)) !== null || cacheFile(url, file, contents)
    if (await locked(request, store)) continue
    const problem = `This browser has no room to cache ${url} (${(file.bytes / 1e6).toFixed(1)} MB)`
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

/** Runs an action while holding a lock that all tabs and workers of the origin share. */
function withLock<T>(name: string, action: () => Promise<T>): Promise<T> {
  return globalThis.navigator?.locks ? navigator.locks.request(name, action) : action()
}

/** Downloads a file and checks its hash. Retries once if the wrong bytes may come from an earlier visit. */
async function downloadVerified(
  url: string,
  file: HashedFile,
  onDisk: boolean,
  onBytes: (count: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const partial = await openPartialFile(file, onDisk)
  let finished = false
  try {
    if (partial.received > 0) onBytes(partial.received)
    // Wrong bytes may come from a partial download on disk or from the browser's HTTP cache.
    let mayRetry = partial.received > 0 || file.inHttpCache === true
    let mode: RequestCache = file.inHttpCache ? 'default' : 'no-store'
    for (;;) {
      try {
        await download(url, file.sha256, partial, onBytes, mode)
        const sha256 = await computeSha256(partial.contents)
        finished = true
        if (sha256 === file.sha256) return partial.contents
        throw wrongContents(url, file.sha256, sha256)
      } catch (error) {
        if (!mayRetry || !(error instanceof SamplerError && error.code === 'hash-mismatch')) throw error
      }
      onBytes(-partial.received)
      partial.clear()
      mayRetry = finished = false
      if (file.inHttpCache) mode = 'reload'
    }
  } finally {
    await partial.close(finished)
  }
}

function wrongContents(url: string, expected: string, actual: string): SamplerError {
  return new SamplerError(
    'hash-mismatch',
    `Wrong contents of ${url}: expected SHA-256 ${expected}, got ${actual}. The file was not cached. Load the model ` +
      'again; if the error persists, the model has to be published again.',
  )
}
