import type { Storage } from '../storage/storage.ts'

/** What costs: a listing of the store is a write's price on R2, a read a twelfth of it. */
export type Cost = 'list' | 'read'

/** What the app needs of the machine it runs on. Everything else in `edge/server` is the same on every host. */
export interface Host {
  readonly storage: Storage
  /** The built page and modules; a 404 for what is not among them. */
  assets(request: Request): Promise<Response>
  /** What publishing over HTTP needs as bearer token; null switches it off. */
  readonly publishToken: string | null
  /** Whether this client may cause this cost now. */
  allow(cost: Cost): Promise<boolean>
  /** Takes one line of the log. */
  log(entry: LogEntry): void
}

/** A line of the log: nothing in it says who asked. */
export interface LogEntry {
  readonly level: 'info' | 'error'
  /** Also in the answer's X-Request-Id. */
  readonly request: string
  readonly method: string
  /** The route's pattern, not the path, which a visitor may have put anything into. */
  readonly route: string
  readonly status: number
  /** Until the answer's headers. */
  readonly milliseconds: number
  readonly error?: string
}

/** The environment of every route, for Hono's types. */
export interface Env {
  Variables: { host: Host; requestId: string }
}
