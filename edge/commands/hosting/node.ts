import { once } from 'node:events'
import { existsSync } from 'node:fs'
import type { IncomingMessage, Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type HttpBindings, serve } from '@hono/node-server'
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono, type MiddlewareHandler } from 'hono'
import { compress } from 'hono/compress'
import { etag } from 'hono/etag'
import { createApp } from '../../server/app.ts'
import type { Host, LogEntry } from '../../server/http/host.ts'
import type { Storage } from '../../server/storage/storage.ts'
import { addressOf, defaultLimits, type Limits, rateLimit } from './rate-limit.ts'
import { freePort, type Serving } from './workerd.ts'

export interface NodeOptions {
  readonly storage: Storage
  /** The built client. */
  readonly publicFolder: string
  /** 0 takes any free one. */
  readonly port?: number
  readonly host?: string
  readonly publishToken?: string | null
  readonly log?: (entry: LogEntry) => void
  /** Requests of one address a minute; null for any number. */
  readonly limits?: Limits | null
  /** Whoever connects is a proxy, whose X-Forwarded-For says who asks; one on this machine is known as such. */
  readonly behindProxy?: boolean
}

/** Who sends its headers, or nothing at all, slower than this (milliseconds) is cut off. */
const timeouts = { headersTimeout: 10_000, requestTimeout: 300_000, connectionsCheckingInterval: 2_000 }
const idle = 300_000

/**
 * Runs the app on this machine's Node, over any store.
 * @throws UserError where the port or the host cannot be had
 */
export async function serveOnNode({
  storage,
  publicFolder,
  host: hostname = 'localhost',
  publishToken = null,
  log = (entry) => console.log(JSON.stringify(entry)),
  limits = defaultLimits,
  behindProxy = false,
  ...options
}: NodeOptions): Promise<Serving> {
  const port = await freePort(options.port ?? 8787, hostname)
  // As Cloudflare gives them: compressed, kept, and asked for each time whether they changed; a folder at its slash.
  const built = new Hono().use(compress(), etag({ weak: true }), toFolder(publicFolder)).use(
    serveStatic({
      root: publicFolder,
      onFound(_, c) {
        c.header('Cache-Control', 'public, max-age=0, must-revalidate')
        c.header('Vary', 'Accept-Encoding')
      },
    }),
  )
  const within = limits === null ? () => true : rateLimit(limits)
  const app = createApp((c): Host => {
    const { incoming } = c.env as HttpBindings
    return {
      storage,
      assets: async (request) => await built.fetch(request),
      publishToken,
      allow: async (cost) => within(cost, addressOf(incoming as IncomingMessage, behindProxy)),
      log,
    }
  })
  const fetch = async (request: Request, bindings: HttpBindings) => {
    const answer = await app.fetch(request, bindings)
    return answer.body === null ? answer : new Response(cutOffWith(answer.body, bindings.outgoing), answer)
  }
  const server = serve({
    fetch: fetch as Parameters<typeof serve>[0]['fetch'],
    port,
    hostname,
    serverOptions: timeouts,
  }) as Server
  server.setTimeout(idle)
  if (!server.listening) await once(server, 'listening')
  const { port: found } = server.address() as AddressInfo
  return {
    url: `http://${hostname.includes(':') ? `[${hostname}]` : hostname}:${found}`,
    async stop() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close').catch(() => {})
    },
  }
}

/** Sends who names a folder without its slash there: what a page names beside itself would be looked for elsewhere. */
function toFolder(root: string): MiddlewareHandler {
  return async (c, next) => {
    const { pathname, search } = new URL(c.req.url)
    if (!pathname.endsWith('/') && existsSync(join(root, pathname, 'index.html'))) {
      return c.redirect(`${pathname}/${search}`, 307)
    }
    return next()
  }
}

/**
 * The same stream; where it fails, the connection is cut. The adapter would send the error's text as if it were more
 * of the file.
 */
function cutOffWith(
  body: ReadableStream<Uint8Array>,
  outgoing: HttpBindings['outgoing'],
): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (done) controller.close()
        else controller.enqueue(value)
      } catch (error) {
        outgoing.destroy()
        controller.error(error)
      }
    },
    cancel: (reason) => reader.cancel(reason),
  })
}
