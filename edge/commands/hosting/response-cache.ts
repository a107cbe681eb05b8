// Cache of small complete responses in the memory of the Node host. Most of the time of a small response is spent in
// creating `Request`, `Response` and `Headers` objects and in asynchronous file operations. A cached response needs none
// of them. It is sent only if every object that it was made from still has the same version in the store, so it is never
// outdated, even if another process publishes to the folder.
import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Cost, Host, LogEntry } from '../../server/http/host.ts'
import { isHubClient } from '../../server/http/hub-client.ts'
import type { Storage } from '../../server/storage/storage.ts'

/** Maximum size of a cached body, and of all of them. */
const maxBodyBytes = 8 * 2 ** 20
/** Maximum size of a cached part of a file. There are many different ones. */
const maxPartBytes = 128 * 1024
const maxTotalBytes = 64 * 2 ** 20
/** Maximum size of a body that is cached as text, so that Node sends it together with the headers in one write. */
const maxTextBytes = 16 * 1024
/** Approximate size of an entry without its body. */
const entryBytes = 2048

/** Request headers that a response may depend on. */
const varying = new Set([
  'accept-encoding',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'origin',
  'range',
])
/** Requests with these headers are not cached. */
const excluded = new Set(['authorization', 'content-length', 'transfer-encoding', 'upgrade'])

/** What happened while the app made a response. */
interface Recording {
  /** Versions of the objects that were read; null for a missing object. */
  readonly versions: Map<string, string | null>
  readonly costs: Cost[]
  entry: LogEntry | null
  cacheable: boolean
}

interface CachedResponse {
  readonly status: number
  /** Names and values in turns, without X-Request-Id. */
  readonly headers: readonly string[]
  /** The bytes, or text with one character per byte (Latin-1). */
  readonly body: Buffer | string | null
  readonly recording: Recording
}

/** Services of the host for one request. */
type Services = Pick<Host, 'allow' | 'assets' | 'log'>

/** Creates the cache. It stays empty if the store has no `currentVersion`. */
export function responseCache(store: Storage) {
  const responses = new Map<string, CachedResponse>()
  let totalBytes = 0
  /** Bytes of the bodies that are being read into memory. */
  let readingBytes = 0
  const current = new AsyncLocalStorage<Recording>()
  const isFresh = ({ versions }: Recording) => {
    for (const [key, version] of versions) if (store.currentVersion?.(key) !== version) return false
    return true
  }
  const drop = (key: string) => {
    totalBytes -= entryBytes + (responses.get(key)?.body?.length ?? 0)
    responses.delete(key)
  }
  const record = (key: string, version: string | null) => {
    const recording = current.getStore()
    if (recording === undefined) return
    if ((recording.versions.get(key) ?? version) !== version) recording.cacheable = false
    recording.versions.set(key, version)
  }

  return {
    /** The store, for the app: records the versions of what is read. */
    storage: {
      ...store,
      async head(key) {
        const info = await store.head(key)
        record(key, info?.version ?? null)
        return info
      },
      async read(key, range) {
        const object = await store.read(key, range)
        record(key, object?.info.version ?? null)
        return object
      },
    } satisfies Storage as Storage,

    /** Wraps the host's services so that they are recorded, too. */
    recorded({ allow, assets, log }: Services): Services {
      const recording = current.getStore()
      if (recording === undefined) return { allow, assets, log }
      return {
        allow(cost) {
          recording.costs.push(cost)
          return allow(cost)
        },
        assets(request) {
          // Assets are no objects of the store.
          recording.cacheable = false
          return assets(request)
        },
        log(entry) {
          recording.entry = entry
          log(entry)
        },
      }
    },

    /**
     * Sends the cached response of a request.
     * @returns whether there is one
     */
    send(
      incoming: IncomingMessage,
      outgoing: ServerResponse,
      { allow, log }: { allow: (cost: Cost) => boolean; log: (entry: LogEntry) => void },
    ): boolean {
      const key = keyOf(incoming)
      const cached = key === null ? undefined : responses.get(key)
      if (key === null || cached === undefined) return false
      if (!isFresh(cached.recording)) {
        drop(key)
        return false
      }
      const { status, headers, body, recording } = cached
      // The app then rejects the request.
      if (!recording.costs.every(allow)) return false
      // A map iterates in the order of insertion: the first entry is the one that was not used for the longest time.
      responses.delete(key)
      responses.set(key, cached)
      const request = randomUUID()
      outgoing.writeHead(status, [...headers, 'x-request-id', request])
      outgoing.end(body, 'latin1')
      log({ ...recording.entry!, request, milliseconds: 0 })
      return true
    },

    /** Calls the app, and caches its response if that is allowed. */
    async remember(incoming: IncomingMessage, respond: () => Promise<Response>): Promise<Response> {
      const key = keyOf(incoming)
      if (key === null || store.currentVersion === undefined) return await respond()
      const recording: Recording = { versions: new Map(), costs: [], entry: null, cacheable: true }
      const response = await current.run(recording, respond)
      if (!recording.cacheable || recording.entry === null || !isCacheable(response)) return response
      let body: Buffer | null = null
      if (response.body !== null) {
        const bytes = Number(response.headers.get('Content-Length') ?? 0)
        // Many first requests at once would otherwise need the memory of many bodies. The response is then sent as a stream.
        if (readingBytes + bytes > maxTotalBytes) return response
        readingBytes += bytes
        body = Buffer.from(
          await response.arrayBuffer().finally(() => {
            readingBytes -= bytes
          }),
        )
      }
      const headers = new Headers(response.headers)
      headers.delete('X-Request-Id')
      if (body !== null) headers.set('Content-Length', String(body.length))
      const cached = {
        status: response.status,
        headers: [...headers].flat(),
        body: body !== null && body.length <= maxTextBytes ? body.toString('latin1') : body,
        recording,
      }
      if (responses.has(key)) drop(key)
      responses.set(key, cached)
      totalBytes += entryBytes + (body?.length ?? 0)
      for (const oldest of responses.keys()) {
        if (totalBytes <= maxTotalBytes) break
        drop(oldest)
      }
      return new Response(body, response)
    },
  }
}

/** Returns the key of a response, or null if the response to this request is not cached. */
function keyOf({ method, url, rawHeaders }: IncomingMessage): string | null {
  if (method !== 'GET' && method !== 'HEAD') return null
  let key = `${method} ${url}`
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    if (excluded.has(name)) return null
    if (name === 'host') hosts++
    // Its responses differ at some paths.
    if (name === 'user-agent' && isHubClient(rawHeaders[i + 1])) return null
    if (varying.has(name)) key += `\n${name}: ${rawHeaders[i + 1]}`
  }
  return hosts === 1 ? key : null
}

function isCacheable({ status, headers, body }: Response): boolean {
  if (![200, 206, 304].includes(status)) return false
  const cacheControl = headers.get('Cache-Control')
  if (cacheControl === null || cacheControl.includes('no-store')) return false
  // Content-Length is missing for manifests, which are small.
  const limit = status === 206 ? maxPartBytes : maxBodyBytes
  return body === null || Number(headers.get('Content-Length') ?? 0) <= limit
}
