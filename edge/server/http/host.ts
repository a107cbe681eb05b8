import type { Purge } from '../registry/purging.ts'
import type { Storage } from '../storage/storage.ts'

/** Cost class of a request: `list` for requests that search the list of models, which may be large. */
export type Cost = 'list' | 'read'

/** Services that the app gets from its host. The rest of `edge/server` is the same on every host. */
export interface Host {
  readonly storage: Storage
  /** Serves the built page and modules; responds with 404 for any other path. */
  assets(request: Request): Promise<Response>
  /** Bearer token for publishing over HTTP; null disables it. */
  readonly publishToken: string | null
  /** Counts a request of the current client and returns whether it is within the rate limit. */
  allow(cost: Cost): Promise<boolean>
  /** Purges the cache in front of the server. Missing if there is none. */
  readonly purge?: Purge | undefined
  /** Writes one log entry. */
  log(entry: LogEntry): void
}

/** Log entry of one request. Contains nothing that identifies the client. */
export interface LogEntry {
  readonly level: 'info' | 'error'
  /** Request id; also sent as X-Request-Id. */
  readonly request: string
  readonly method: string
  /** Pattern of the route. Not the path, which may contain personal data. */
  readonly route: string
  readonly status: number
  /** Time until the response headers. */
  readonly milliseconds: number
  readonly error?: string
}

/** Hono's environment type of every route. */
export interface Env {
  Variables: { host: Host; requestId: string }
}
