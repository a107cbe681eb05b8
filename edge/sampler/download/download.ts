import { SamplerError } from '../base/errors.ts'
import type { Part } from './store.ts'

/** How often in a row it is tried without a byte more, and how long it waits after the first failure, in ms. */
const attempts = 5
const firstWait = 500

/**
 * Brings what is missing of a file, and goes on where a connection was cut.
 * @param onBytes gets how many more bytes there are; less than none where it has to start over
 * @param mode what the browser's own cache has to do with it
 * @throws SamplerError 'offline' when it does not go on; 'not-found' and 'server' as the server says
 */
export async function download(
  url: string,
  sha256: string,
  part: Part,
  onBytes: (count: number) => void,
  mode: RequestCache,
): Promise<void> {
  const whole = part.contents.length
  let failures = 0
  while (part.received < whole) {
    const before = part.received
    try {
      await receive(await ask(url, sha256, before, mode), part, onBytes)
      if (part.received < whole) throw new SamplerError('offline', 'The answer ended early.')
    } catch (error) {
      if (!mayPass(error)) throw error
      failures = part.received > before ? 1 : failures + 1
      if (failures === attempts) throw brokenOff(url, part, error as Error)
      await pause(firstWait * 2 ** (failures - 1))
    }
  }
}

/** The rest of a file. Its entity tag is its hash: another tag means another coding, and the whole in answer. */
function ask(url: string, sha256: string, from: number, mode: RequestCache): Promise<Response> {
  const headers = from === 0 ? {} : { Range: `bytes=${from}-`, 'If-Range': `"${sha256}"` }
  return fetchOrExplain(url, { cache: mode, headers })
}

async function receive(response: Response, part: Part, onBytes: (count: number) => void): Promise<void> {
  const goesOn =
    response.status === 206 && response.headers.get('Content-Range')?.startsWith(`bytes ${part.received}-`)
  if (part.received > 0 && !goesOn) {
    onBytes(-part.received)
    part.clear()
  }
  // Safari's streams cannot be iterated.
  const reader = response.body!.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    part.add(value)
    onBytes(value.length)
  }
}

/** Trouble of network and server passes; a missing file or a wrong one stays so. */
function mayPass(error: unknown): boolean {
  return !(error instanceof SamplerError) || error.code === 'offline' || error.code === 'server'
}

function brokenOff(url: string, { received, contents }: Part, cause: Error): SamplerError {
  if (cause instanceof SamplerError && cause.code === 'server') return cause
  return new SamplerError(
    'offline',
    `The download of ${url} broke off after ${received} of ${contents.length} bytes, and ${attempts} attempts did ` +
      'not bring more. Check the connection and load again: it goes on where it stopped.',
  )
}

/** Waits, somewhat longer or shorter than said, so that not all tabs come back at once. */
function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds * (0.75 + Math.random() / 2)))
}

/**
 * A successful response.
 * @throws SamplerError with the server's own explanation, or one of why there is no answer; the signal's reason
 */
export async function fetchOrExplain(url: string, options: RequestInit = {}): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, options)
  } catch {
    options.signal?.throwIfAborted()
    throw new SamplerError(
      'offline',
      `Could not reach ${url}. Is this device online, and the server running?`,
    )
  }
  if (response.ok) return response
  throw new SamplerError(response.status === 404 ? 'not-found' : 'server', await explanation(url, response))
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
