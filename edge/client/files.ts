import { UserError } from '@ddpm/shared'

/** A file at `/files/<sha256>` of a server. */
export interface HashedFile {
  readonly sha256: string
  readonly bytes: number
}

const cacheName = 'ddpm-files'

/**
 * The contents of files, from this browser's cache or from the server. What comes from the server is kept only if it
 * is what the hash promises.
 * @param origin of the server
 * @param onProgress gets bytes received and expected, over all files that have to be downloaded
 * @throws UserError when the server cannot be reached, a download breaks off, or size or hash are wrong
 */
export async function fetchFiles(
  origin: string,
  files: readonly HashedFile[],
  onProgress: (loaded: number, total: number) => void,
): Promise<Uint8Array<ArrayBuffer>[]> {
  if (!globalThis.crypto?.subtle) {
    throw new UserError(
      'This page was not opened through https or localhost: browsers then refuse the means to check a download. ' +
        'Open it through https.',
    )
  }
  const cache = await openCache()
  const urls = files.map(({ sha256 }) => `${origin}/files/${sha256}`)
  const cached = await Promise.all(urls.map((url) => cache?.match(url)))
  const total = files.reduce((sum, { bytes }, i) => sum + (cached[i] ? 0 : bytes), 0)
  let loaded = 0
  const onBytes = (count: number) => {
    loaded += count
    onProgress(loaded, total)
  }
  return Promise.all(
    files.map(async (file, i) => {
      const url = urls[i]!
      const kept = cached[i]
      if (kept) return new Uint8Array(await kept.arrayBuffer())
      const contents = await download(url, file.bytes, onBytes)
      await verify(url, contents, file.sha256)
      await cache?.put(url, new Response(contents)).catch(() => {
        // A full disk or a private window: the next visit downloads again.
      })
      return contents
    }),
  )
}

/** Browsers may refuse the cache to private windows. */
async function openCache(): Promise<Cache | null> {
  try {
    return await caches.open(cacheName)
  } catch {
    return null
  }
}

async function download(
  url: string,
  bytes: number,
  onBytes: (count: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetchOrExplain(url)
  const contents = new Uint8Array(bytes)
  let received = 0
  try {
    for await (const chunk of chunks(response)) {
      if (received + chunk.length > bytes) throw wrongSize(url, `more than ${bytes}`, bytes)
      contents.set(chunk, received)
      received += chunk.length
      onBytes(chunk.length)
    }
  } catch (error) {
    if (error instanceof UserError) throw error
    throw new UserError(
      `The download of ${url} broke off after ${received} of ${bytes} bytes. Check the connection and try again.`,
    )
  }
  if (received !== bytes) throw wrongSize(url, String(received), bytes)
  return contents
}

// Safari's streams cannot be iterated.
async function* chunks(response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body!.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    yield value
  }
}

function wrongSize(url: string, found: string, expected: number): UserError {
  return new UserError(
    `${url} has ${found} bytes; its manifest says ${expected}. Nothing was kept. Try again; if that does not help, ` +
      'the model has to be published again.',
  )
}

async function verify(url: string, contents: Uint8Array<ArrayBuffer>, sha256: string): Promise<void> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', contents))
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('')
  if (found === sha256) return
  throw new UserError(
    `${url} has the wrong contents: found SHA-256 ${found}, expected ${sha256}. Nothing was kept. Try again; if ` +
      'that does not help, the model has to be published again.',
  )
}

/**
 * A successful response.
 * @throws UserError with the server's own explanation, or one of why there is no answer; the signal's reason
 */
export async function fetchOrExplain(url: string, signal?: AbortSignal): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, { signal: signal ?? null })
  } catch {
    signal?.throwIfAborted()
    throw new UserError(`Could not reach ${url}. Is this device online, and the server running?`)
  }
  if (response.ok) return response
  throw new UserError(await explanation(url, response))
}

/** The detail of an `application/problem+json` answer (RFC 9457), or the bare status. */
async function explanation(url: string, response: Response): Promise<string> {
  const fallback = `${url} answered ${response.status} ${response.statusText}`.trim()
  try {
    const problem = (await response.json()) as { detail?: unknown }
    return typeof problem.detail === 'string' ? problem.detail : `${fallback}.`
  } catch {
    return `${fallback}.`
  }
}
