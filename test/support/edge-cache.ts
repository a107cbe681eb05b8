// A stand-in for Cloudflare: runs the Worker's module behind a shared cache like Workers Caching, as documented at
// https://developers.cloudflare.com/workers/cache/. The bucket is that of workerd.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { R2Bucket } from '@cloudflare/workers-types'
import { configPath, importWrangler } from '../../edge/commands/hosting/wrangler.ts'
import { r2Storage } from '../../edge/server/storage/r2.ts'
import type { Storage } from '../../edge/server/storage/storage.ts'

export interface EdgeCache {
  readonly url: string
  readonly storage: Storage
  /** Number of purges that the cache will reject, as above the rate limit. */
  rejections: number
  close(): Promise<void>
}

interface Entry {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
  readonly tags: readonly string[]
  /** Values of the request headers that Vary names. */
  readonly varied: readonly [string, string | null][]
}

/** Starts the Worker behind an empty cache. @param persistTo folder of the bucket */
export async function startEdgeCache(persistTo: string, publishToken: string): Promise<EdgeCache> {
  const { getPlatformProxy } = await importWrangler()
  const platform = await getPlatformProxy<{ MODELS: R2Bucket }>({
    configPath,
    persist: { path: join(persistTo, 'v3') },
    remoteBindings: false,
    envFiles: [],
  })
  const { default: worker } = await import('../../edge/server/worker.ts')
  const bindings = { ...platform.env, PUBLISH_TOKEN: publishToken }
  /** By path and query, not by host. */
  const entries = new Map<string, Entry[]>()

  const purge = async (options: { tags?: string[]; pathPrefixes?: string[]; purgeEverything?: boolean }) => {
    const { tags = [], pathPrefixes = [], purgeEverything = false } = options
    if (cache.rejections > 0) {
      cache.rejections--
      return { success: false, errors: [{ code: 1134, message: 'rate limit exceeded' }] }
    }
    if (tags.length + pathPrefixes.length > 100) {
      return { success: false, errors: [{ code: 1094, message: 'more than 100 operations' }] }
    }
    for (const [path, variants] of entries) {
      const matches = variants.some((entry) => tags.some((tag) => entry.tags.includes(tag.toLowerCase())))
      if (purgeEverything || matches || pathPrefixes.some((prefix) => path.startsWith(prefix))) {
        entries.delete(path)
      }
    }
    return { success: true, errors: [] }
  }

  const handle = async (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const { method = 'GET', url: path = '/' } = incoming
    const headers = new Headers(incoming.headers as Record<string, string>)
    const reads = method === 'GET' || method === 'HEAD'
    const cacheable = reads && !headers.has('Authorization')
    const hit = cacheable
      ? entries.get(path)?.find((entry) => entry.varied.every(([name, value]) => headers.get(name) === value))
      : undefined
    if (hit !== undefined) return send(outgoing, method, hit, 'HIT')

    const body = reads ? {} : { body: Readable.toWeb(incoming) as BodyInit, duplex: 'half' }
    // HEAD is converted to GET, so that the complete response is stored.
    const init = { method: cacheable ? 'GET' : method, headers, ...body }
    const context = { waitUntil: () => {}, passThroughOnException: () => {}, props: {}, cache: { purge } }
    const response = await worker.fetch(new Request(`${cache.url}${path}`, init), bindings, context as never)
    const entry: Entry = {
      status: response.status,
      headers: response.headers,
      body: Buffer.from(await response.arrayBuffer()),
      tags: (response.headers.get('Cache-Tag') ?? '').toLowerCase().split(','),
      varied: (response.headers.get('Vary') ?? '')
        .split(/, */)
        .filter(Boolean)
        .map((name) => [name, headers.get(name)]),
    }
    const isPublic = /^public, max-age=[1-9]/.test(response.headers.get('Cache-Control') ?? '')
    if (cacheable && isPublic && response.status === 200) {
      entries.set(path, [...(entries.get(path) ?? []), entry])
    }
    send(outgoing, method, entry, cacheable ? 'MISS' : 'BYPASS')
  }
  const server = createServer((incoming, outgoing) => {
    handle(incoming, outgoing).catch((error) => outgoing.destroy(error))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cache: EdgeCache = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    storage: r2Storage(platform.env.MODELS),
    rejections: 0,
    async close() {
      server.closeAllConnections()
      server.close()
      await platform.dispose()
    },
  }
  return cache
}

function send(
  outgoing: ServerResponse,
  method: string,
  { status, headers, body }: Entry,
  cacheStatus: string,
): void {
  const sent = Object.fromEntries(headers)
  // Cloudflare removes it.
  delete sent['cache-tag']
  outgoing.writeHead(status, { ...sent, 'CF-Cache-Status': cacheStatus })
  outgoing.end(method === 'HEAD' ? undefined : body)
}
