// The app on workerd without wrangler's proxy and the simulated bucket: its store is in memory.
import { createApp } from '../../edge/server/app.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'

const storage = memoryStorage()
const app = createApp(() => ({
  storage,
  assets: async () => new Response(null, { status: 404 }),
  publishToken: null,
  allow: async () => true,
  log: () => {},
}))
let filled: Promise<unknown> | undefined

export default {
  /** @param env the list of models as text */
  async fetch(request: Request, env: { INDEX: string }): Promise<Response> {
    await (filled ??= storage.put(keys.index, env.INDEX, { mediaType: 'text/tab-separated-values' }))
    return await app.fetch(request)
  },
}
