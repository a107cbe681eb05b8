import type { Fetcher, R2Bucket, RateLimit } from '@cloudflare/workers-types'
import { createApp } from './app.ts'
import { r2Storage } from './storage/r2.ts'

/** What `wrangler.toml` binds to the Worker. */
interface Bindings {
  readonly MODELS: R2Bucket
  /** The built page and modules. */
  readonly ASSETS: Fetcher
  /** Requests of one address that list the store, and those that read it. Not bound on a developer's machine. */
  readonly LISTS?: RateLimit
  readonly READS?: RateLimit
  /** A secret. */
  readonly PUBLISH_TOKEN?: string
}

/** The app on Cloudflare Workers. */
export default createApp((c) => {
  const { MODELS, ASSETS, LISTS, READS, PUBLISH_TOKEN } = c.env as unknown as Bindings
  const limits = { list: LISTS, read: READS }
  return {
    storage: r2Storage(MODELS),
    assets: async (request) => (await ASSETS.fetch(request as never)) as unknown as Response,
    publishToken: PUBLISH_TOKEN || null,
    async allow(cost) {
      // Addresses are compared, never written down.
      const key = c.req.header('CF-Connecting-IP') ?? 'unknown'
      return (await limits[cost]?.limit({ key }))?.success ?? true
    },
    log: (entry) => console[entry.level](JSON.stringify(entry)),
  }
})
