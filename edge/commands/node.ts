import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type HttpBindings, serve } from '@hono/node-server'
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono } from 'hono'
import { etag } from 'hono/etag'
import { createApp } from '../src/app.ts'
import type { Host, LogEntry } from '../src/host.ts'
import type { Storage } from '../src/storage/storage.ts'
import { freePort, type Serving } from './serve.ts'

export interface NodeOptions {
  readonly storage: Storage
  /** The built client. */
  readonly publicFolder: string
  /** 0 takes any free one. */
  readonly port?: number
  readonly host?: string
  readonly publishToken?: string | null
  readonly log?: (entry: LogEntry) => void
}

/**
 * Runs the app on this machine's Node, over any store. There are no rate limits of its own: what stands before it, as
 * something must for HTTPS, has them.
 * @throws UserError where the port or the host cannot be had
 */
export async function serveOnNode({
  storage,
  publicFolder,
  host: hostname = 'localhost',
  publishToken = null,
  log = (entry) => console.log(JSON.stringify(entry)),
  ...options
}: NodeOptions): Promise<Serving> {
  const port = await freePort(options.port ?? 8787, hostname)
  const built = new Hono().use(etag()).use(serveStatic({ root: publicFolder }))
  const host: Host = {
    storage,
    assets: async (request) => await built.fetch(request),
    publishToken,
    allow: async () => true,
    log,
  }
  const app = createApp(() => host)
  const fetch = async (request: Request, { outgoing }: HttpBindings) => {
    const answer = await app.fetch(request)
    return answer.body === null ? answer : new Response(cutOffWith(answer.body, outgoing), answer)
  }
  const server = serve({ fetch: fetch as Parameters<typeof serve>[0]['fetch'], port, hostname }) as Server
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
