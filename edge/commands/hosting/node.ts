import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { UserError } from '@ddpm/shared'
import { type HttpBindings, serve } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { createApp } from '../../server/app.ts'
import { checkToken } from '../../server/http/guards.ts'
import type { Cost, Host, LogEntry } from '../../server/http/host.ts'
import { fileRangeOf } from '../../server/storage/folder.ts'
import type { Storage } from '../../server/storage/storage.ts'
import { folderAssets } from './assets.ts'
import { clientAddress, defaultLimits, type Limits, rateLimit } from './rate-limit.ts'
import { responseCache } from './response-cache.ts'
import { sendFile } from './send-file.ts'
import { findFreePort, type RunningServer } from './workerd.ts'

export interface NodeOptions {
  readonly storage: Storage
  /** Folder of the built page. */
  readonly publicFolder: string
  /** TCP port; 0 for any free port. Default: 8787. */
  readonly port?: number
  /** Name or address to listen on. Default: localhost. */
  readonly host?: string
  /** Bearer token for publishing over HTTP. Default: null, which disables it. */
  readonly publishToken?: string | null
  /** Default: one line of JSON per request on the standard output. */
  readonly log?: (entry: LogEntry) => void
  /** Rate limits per client address; null for none. */
  readonly limits?: Limits | null
  /** Trusts X-Forwarded-For of every peer. Default: only of peers on this machine. */
  readonly behindProxy?: boolean
}

/** Timeouts in milliseconds for receiving headers and requests. */
const timeouts = { headersTimeout: 10_000, requestTimeout: 300_000, connectionsCheckingInterval: 2_000 }
/** Timeout in milliseconds for idle connections. */
const idleTimeout = 300_000

/**
 * Runs the server on Node, over any store.
 * @throws UserError if the host or the port is not available, or the token is too short
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
}: NodeOptions): Promise<RunningServer> {
  const invalid = publishToken === null ? null : checkToken(publishToken)
  if (invalid !== null) {
    throw new UserError(`Cannot start: ${invalid}. Create one with "openssl rand -hex 32".`)
  }
  const port = await findFreePort(options.port ?? 8787, hostname)
  const assets = folderAssets(publicFolder)
  const cache = responseCache(storage)
  const isWithinLimit = limits === null ? () => true : rateLimit(limits)
  const allow = (cost: Cost, incoming: IncomingMessage) =>
    isWithinLimit(cost, clientAddress(incoming, behindProxy))
  const app = createApp((c): Host => {
    const { incoming } = c.env as HttpBindings
    const services = cache.recorded({
      assets,
      allow: async (cost) => allow(cost, incoming as IncomingMessage),
      log,
    })
    return { storage: cache.storage, publishToken, ...services }
  })
  const fetch = async (request: Request, bindings: HttpBindings) => {
    // RFC 9112, section 3.2. Node itself uses the first one and ignores the others.
    const hosts = bindings.incoming.rawHeaders.filter((text, i) => i % 2 === 0 && /^host$/i.test(text))
    if (hosts.length > 1) return new Response('Invalid request: expected one Host header.', { status: 400 })
    const { incoming, outgoing } = bindings as { incoming: IncomingMessage; outgoing: ServerResponse }
    const response = await cache.remember(incoming, async () => await app.fetch(request, bindings))
    if (response.body === null) return response
    const range = fileRangeOf(response.body)
    if (range !== null) {
      await sendFile(outgoing, response, range)
      return RESPONSE_ALREADY_SENT
    }
    return new Response(closeOnError(response.body, bindings.outgoing), response)
  }
  const server = serve({
    fetch: fetch as Parameters<typeof serve>[0]['fetch'],
    port,
    hostname,
    serverOptions: timeouts,
    createServer: ((options: ServerOptions, listener: RequestListener) =>
      createServer(options, (incoming, outgoing) => {
        const services = { allow: (cost: Cost) => allow(cost, incoming), log }
        if (!cache.send(incoming, outgoing, services)) listener(incoming, outgoing)
      })) as typeof createServer,
  }) as Server
  server.setTimeout(idleTimeout)
  if (!server.listening) await once(server, 'listening')
  const { port: actualPort } = server.address() as AddressInfo
  return {
    url: `http://${hostname.includes(':') ? `[${hostname}]` : hostname}:${actualPort}`,
    async stop() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close').catch(() => {})
    },
  }
}

/**
 * Returns a stream with the same content that closes the connection on an error. Otherwise the Node adapter would
 * append the error message to the body.
 */
function closeOnError(
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
