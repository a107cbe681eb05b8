import { lookup } from 'node:dns/promises'
import { type AddressInfo, createServer } from 'node:net'
import { resolve } from 'node:path'
import { UserError } from '@ddpm/shared'
import type { Environment } from './cloudflare.ts'
import { defaultPersistTo } from './local-bucket.ts'
import { configPath, wranglerModule } from './wrangler.ts'

/** Where and how to serve. */
export interface ServeOptions {
  /** 0 takes any free one. */
  port?: number
  host?: string
  /** The folder of the local bucket. */
  persistTo?: string
  /** The built client; by default what `wrangler.toml` names. */
  publicFolder?: string
  /** Without the Worker's own log. */
  quiet?: boolean
  /** Which of `wrangler.toml`'s environments; none, which has no rate limits, unless told. */
  environment?: Environment
  /** As if it were the Worker's secret PUBLISH_TOKEN. */
  publishToken?: string
}

/** A Worker that answers at `url` until it is stopped. */
export interface Serving {
  /** Without a slash at its end. */
  url: string
  stop(): Promise<void>
}

/**
 * Runs the Worker on this machine, in workerd.
 * @throws UserError where the port or the host cannot be had
 */
export async function serve(options: ServeOptions = {}): Promise<Serving> {
  const { host = 'localhost', persistTo = defaultPersistTo, publicFolder, quiet = false } = options
  const { environment, publishToken } = options
  const port = await freePort(options.port ?? 8787, host)
  const { unstable_startWorker } = await wranglerModule()
  const worker = await unstable_startWorker({
    config: configPath,
    ...(publicFolder === undefined ? {} : { assets: publicFolder }),
    ...(environment === undefined ? {} : { env: environment }),
    ...(publishToken === undefined
      ? {}
      : { bindings: { PUBLISH_TOKEN: { type: 'plain_text', value: publishToken } } }),
    dev: {
      server: { hostname: host, port },
      persist: resolve(persistTo),
      inspector: false,
      watch: false,
      logLevel: quiet ? 'none' : 'warn',
    },
  })
  await worker.ready
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`, stop: () => worker.dispose() }
}

/**
 * The port, or any free one for 0, once it is sure that it can be had; wrangler itself would wait in silence.
 * @throws UserError where it cannot
 */
export async function freePort(port: number, host: string): Promise<number> {
  try {
    let free = port
    // "localhost" may be two addresses.
    for (const { address } of await lookup(host, { all: true })) free = await tryToListen(free, address)
    return free
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new UserError(
      code === 'EADDRINUSE'
        ? `Port ${port} on ${host} is in use. Stop what uses it, or choose another: --port ${port + 1}.`
        : code === 'EACCES'
          ? `Port ${port} on ${host} is not allowed for you; choose one from 1024 on with --port.`
          : `Cannot serve on host "${host}", port ${port} (${message}); choose others with --host and --port.`,
    )
  }
}

function tryToListen(port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.on('error', reject)
    probe.listen({ port, host, exclusive: true }, () => {
      const address = probe.address() as AddressInfo
      probe.close(() => resolve(address.port))
    })
  })
}
