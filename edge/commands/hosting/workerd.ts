import { lookup } from 'node:dns/promises'
import { type AddressInfo, createServer } from 'node:net'
import { resolve } from 'node:path'
import { UserError } from '@ddpm/shared'
import type { Environment } from './cloudflare.ts'
import { defaultPersistTo } from './local-bucket.ts'
import { configPath, importWrangler } from './wrangler.ts'

export interface WorkerdOptions {
  /** TCP port; 0 for any free port. Default: 8787. */
  port?: number
  /** Name or address to listen on. Default: localhost. */
  host?: string
  /** Folder of the local bucket. */
  persistTo?: string
  /** Folder of the built page. Default: the assets of `wrangler.toml`. */
  publicFolder?: string
  /** Suppresses the log of the Worker. */
  quiet?: boolean
  /** Environment of `wrangler.toml`. Default: local, with rate limits that are never reached. */
  environment?: Environment | 'local'
  /** Value of the Worker's secret PUBLISH_TOKEN. */
  publishToken?: string
}

/** A server that is running. */
export interface RunningServer {
  /** Origin, without a trailing slash. */
  url: string
  stop(): Promise<void>
}

/**
 * Runs the Worker on this machine, in workerd.
 * @throws UserError if the host or the port is not available
 */
export async function serveOnWorkerd(options: WorkerdOptions = {}): Promise<RunningServer> {
  const { host = 'localhost', persistTo = defaultPersistTo, publicFolder, quiet = false } = options
  const { environment = 'local', publishToken } = options
  const port = await findFreePort(options.port ?? 8787, host)
  const { unstable_startWorker } = await importWrangler()
  const worker = await unstable_startWorker({
    config: configPath,
    ...(publicFolder === undefined ? {} : { assets: publicFolder }),
    ...(environment === 'production' ? {} : { env: environment }),
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
 * Checks that a port is free. Without this check wrangler would wait for the port without a message.
 * @param port 0 finds any free port
 * @returns the port
 * @throws UserError if the host or the port is not available
 */
export async function findFreePort(port: number, host: string): Promise<number> {
  try {
    let free = port
    // "localhost" may resolve to an IPv4 and an IPv6 address.
    for (const { address } of await lookup(host, { all: true })) free = await tryToListen(free, address)
    return free
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new UserError(
      code === 'EADDRINUSE'
        ? `Port ${port} on ${host} is in use. Stop the program that uses it, or choose another port: --port ${port + 1}.`
        : code === 'EACCES'
          ? `Port ${port} on ${host} needs administrator rights. Choose a port from 1024 on with --port.`
          : `Cannot listen on host "${host}", port ${port} (${message}). Choose others with --host and --port.`,
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
