import type { Fetcher, R2Bucket } from '@cloudflare/workers-types'

/** What `wrangler.toml` binds to the Worker. */
export interface Bindings {
  /** Models, their files and onnxruntime's own, under the keys of `storageKeys`. */
  MODELS: R2Bucket
  /** The built page and modules. */
  ASSETS: Fetcher
}

/** The environment of every route, for Hono's types. */
export interface Env {
  Bindings: Bindings
}
