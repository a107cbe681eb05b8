import type { ExecutionContext, Fetcher, R2Bucket, RateLimit } from '@cloudflare/workers-types'
import { createApp } from './app.ts'
import { RegistryError } from './registry/errors.ts'
import type { Purge } from './registry/purging.ts'
import { r2Storage } from './storage/r2.ts'
import type { Storage } from './storage/storage.ts'

/** Bindings of the Worker, configured in `wrangler.toml`. */
interface Bindings {
  readonly MODELS: R2Bucket
  /** The built page and modules. */
  readonly ASSETS: Fetcher
  /** Rate limit per client address for requests for the list of models. */
  readonly LISTS?: RateLimit
  /** Rate limit per client address for requests that read the store. */
  readonly READS?: RateLimit
  /** Secret that publishers send as a bearer token. */
  readonly PUBLISH_TOKEN?: string
}

/** One per isolate, because it is the key of what is cached in memory. Bindings are the same for every request. */
let storage: Storage | undefined

/** The app on Cloudflare Workers. */
export default createApp((c) => {
  const { MODELS, ASSETS, LISTS, READS, PUBLISH_TOKEN } = c.env as unknown as Bindings
  const limits = { list: LISTS, read: READS }
  storage ??= r2Storage(MODELS)
  return {
    storage,
    assets: async (request) => (await ASSETS.fetch(request as never)) as unknown as Response,
    publishToken: PUBLISH_TOKEN || null,
    async allow(cost) {
      // The address is used as a key only; it is neither logged nor stored.
      const key = c.req.header('CF-Connecting-IP') ?? 'unknown'
      return (await limits[cost]?.limit({ key }))?.success ?? true
    },
    purge: purgeOf(c.executionCtx as ExecutionContext),
    log: (entry) => console[entry.level](JSON.stringify(entry)),
  }
})

/**
 * Returns the purge of the Worker's own cache, which `[cache]` in `wrangler.toml` enables. Neither the zone's purge API nor
 * `caches.default` reaches this cache. Undefined where the runtime has no such cache, as in local development.
 */
function purgeOf({ cache }: ExecutionContext): Purge | undefined {
  return (
    cache &&
    (async (tags) => {
      const { success, errors } = await cache.purge({ tags: [...tags] })
      if (success) return
      throw new RegistryError(
        'busy',
        `The removal is complete, but Cloudflare rejected to purge its cache (${errors.map(({ message }) => message).join(', ')}). ` +
          'Wait a minute, then run "npm run publish -- gc" with the same option --remote or --to. It repeats the purge.',
      )
    })
  )
}
