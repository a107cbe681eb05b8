import { SamplerError } from '../base/errors.ts'
import type { HashedFile } from '../base/hashed-file.ts'
import { fetchOk } from './http.ts'
import type { PartialFile } from './partial-file.ts'

/** Max number of consecutive attempts that receive no bytes. */
const maxAttempts = 5
/** Delay before the first retry, in milliseconds. It doubles with every further retry. */
const firstDelay = 500

/** Progress of the download of one file. */
export interface DownloadListener {
  /** Receives the number of new bytes of the file; it is negative when the download starts over. */
  onBytes(count: number): void
  /** Receives the size of the file on the wire: smaller than the file if the server compresses it. */
  onWireBytes(bytes: number): void
}

/**
 * Downloads the missing bytes of a file. Resumes with a range request after a lost connection.
 * @param mode how to use the browser's HTTP cache
 * @throws SamplerError 'offline' after the last attempt; 'not-found' or 'server' for an error status
 */
export async function download(
  request: HashedFile,
  file: PartialFile,
  listener: DownloadListener,
  mode: RequestCache,
): Promise<void> {
  const { url, wireBytes } = request
  const total = file.contents.length
  let failures = 0
  while (file.received < total) {
    const before = file.received
    try {
      const response = await requestFrom(request, before, mode)
      // Ranges refer to the uncompressed file. Browsers pass on the length of the compressed one.
      const length = response.status === 206 ? total : Number(response.headers.get('Content-Length'))
      listener.onWireBytes(length || (wireBytes ?? total))
      await receive(response, file, listener.onBytes)
      if (file.received < total) throw new SamplerError('offline', 'The response ended early.')
    } catch (error) {
      if (!isTemporary(error)) throw error
      failures = file.received > before ? 1 : failures + 1
      if (failures === maxAttempts) throw interrupted(url, file, error as Error)
      await delay(firstDelay * 2 ** (failures - 1))
    }
  }
}

/**
 * Requests the bytes from an offset on. If the entity tag is the file's hash and differs, the server uses another content
 * encoding and sends the whole file.
 */
function requestFrom(
  { url, sha256, hasHashTag }: HashedFile,
  offset: number,
  mode: RequestCache,
): Promise<Response> {
  const headers = {
    ...(offset > 0 && { Range: `bytes=${offset}-` }),
    ...(offset > 0 && hasHashTag && { 'If-Range': `"${sha256}"` }),
  }
  return fetchOk(url, { cache: mode, headers })
}

async function receive(
  response: Response,
  file: PartialFile,
  onBytes: (count: number) => void,
): Promise<void> {
  const resumes =
    response.status === 206 && response.headers.get('Content-Range')?.startsWith(`bytes ${file.received}-`)
  if (file.received > 0 && !resumes) {
    onBytes(-file.received)
    file.clear()
  }
  // Safari's streams are not async iterable.
  const reader = response.body!.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    file.add(value)
    onBytes(value.length)
  }
}

/** Network and server errors may disappear on a retry; a missing or a wrong file does not change. */
function isTemporary(error: unknown): boolean {
  return !(error instanceof SamplerError) || error.code === 'offline' || error.code === 'server'
}

function interrupted(url: string, { received, contents }: PartialFile, cause: Error): SamplerError {
  if (cause instanceof SamplerError && cause.code === 'server') return cause
  return new SamplerError(
    'offline',
    `The download of ${url} stopped after ${received} of ${contents.length} bytes: the last ${maxAttempts} attempts ` +
      'received no more. Check the network connection and load the model again; the download resumes.',
  )
}

/** Waits, with ±25 % jitter so that several tabs do not retry at the same moment. */
function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds * (0.75 + Math.random() / 2)))
}
