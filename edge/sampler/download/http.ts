import { SamplerError } from '../base/errors.ts'

/**
 * Fetches a URL and returns the response if its status is a success.
 * @throws SamplerError 'offline' if there is no response; 'not-found' (also without access) or 'server' for an error
 * status, with the server's explanation; the signal's reason when aborted
 */
export async function fetchOk(url: string, options: RequestInit = {}): Promise<Response> {
  let response: Response
  try {
    response = await fetch(url, options)
  } catch {
    options.signal?.throwIfAborted()
    throw new SamplerError(
      'offline',
      `Cannot reach ${url}. Check the network connection and that the server is running.`,
    )
  }
  if (response.ok) return response
  throw new SamplerError(
    [401, 403, 404].includes(response.status) ? 'not-found' : 'server',
    await explain(url, response),
  )
}

/** Returns the detail of an `application/problem+json` response (RFC 9457), or else the status. */
async function explain(url: string, response: Response): Promise<string> {
  const fallback = `${url} returned ${response.status} ${response.statusText}`.trim()
  try {
    const problem = (await response.json()) as { detail?: unknown }
    return typeof problem.detail === 'string' ? problem.detail : `${fallback}.`
  } catch {
    return `${fallback}.`
  }
}
