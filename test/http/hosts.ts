import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe } from 'node:test'
import { openLocalBucket } from '../../edge/commands/hosting/local-bucket.ts'
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import { serveOnWorkerd } from '../../edge/commands/hosting/workerd.ts'
import { folderStorage } from '../../edge/server/storage/folder.ts'
import type { Storage } from '../../edge/server/storage/storage.ts'
import type { Reply } from './check.ts'
import { fill, notFoundPage, page, type Site } from './site.ts'

/** A running server and its store. */
export interface RunningHost {
  readonly url: string
  readonly storage: Storage
  stop(): Promise<void>
}

export interface Settings {
  readonly publishToken?: string
}

/** The hosts that the tests run on. */
export const hosts: { readonly [name: string]: (settings?: Settings) => Promise<RunningHost> } = {
  'workerd with R2': async (settings = {}) => {
    const { folder, publicFolder } = await createFolders()
    const persistTo = join(folder, 'state')
    const serving = await serveOnWorkerd({ port: 0, persistTo, publicFolder, quiet: true, ...settings })
    const bucket = await openLocalBucket(persistTo)
    const stop = async () => {
      await bucket.close()
      await serving.stop()
      await rm(folder, { recursive: true, force: true })
    }
    return { url: serving.url, storage: bucket.storage, stop }
  },
  'Node with a folder': async (settings = {}) => {
    const { folder, publicFolder } = await createFolders()
    const storage = folderStorage(join(folder, 'store'))
    const serving = await serveOnNode({
      storage,
      publicFolder,
      port: 0,
      limits: null,
      log: () => {},
      ...settings,
    })
    const stop = async () => {
      await serving.stop()
      await rm(folder, { recursive: true, force: true })
    }
    return { url: serving.url, storage, stop }
  },
}

/** Defines tests for every host, with the resources of the cases published. */
export function onEveryHost(
  title: string,
  tests: (running: { readonly host: RunningHost; readonly site: Site }) => void,
): void {
  for (const [name, start] of Object.entries(hosts)) {
    describe(`${title}: ${name}`, () => {
      const running = {} as { host: RunningHost; site: Site }
      before(async () => {
        running.host = await start()
        running.site = await fill(running.host.storage)
      })
      after(() => running.host?.stop())
      tests(running)
    })
  }
}

async function createFolders(): Promise<{ folder: string; publicFolder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'ddpm-host-'))
  const publicFolder = join(folder, 'public')
  await mkdir(publicFolder)
  await writeFile(join(publicFolder, 'index.html'), page)
  await mkdir(join(publicFolder, '404'))
  await writeFile(join(publicFolder, '404/index.html'), notFoundPage)
  return { folder, publicFolder }
}

/** Milliseconds that a host may take to respond. Without a limit, a host that hangs would hang the test run. */
const responseTimeout = 15_000

/**
 * Sends a request with path and headers unchanged. `fetch` would normalise both. A request without a body that gets no
 * response is sent once more: workerd with miniflare's bucket was seen to leave one of some 4,000 unanswered.
 */
export async function request(
  url: string,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
  body?: Buffer,
): Promise<Reply> {
  const send = () => sendOnce(url, path, headers, method, body)
  try {
    return await send()
  } catch (error) {
    if (body !== undefined || (error as Error).name !== 'AbortError') throw error
    console.warn(
      `${method} ${path} at ${url}: no response within ${responseTimeout / 1000} s; sent once more`,
    )
    return send()
  }
}

function sendOnce(
  url: string,
  path: string,
  headers: Record<string, string>,
  method: string,
  body?: Buffer,
): Promise<Reply> {
  const { hostname, port } = new URL(url)
  const signal = AbortSignal.timeout(responseTimeout)
  // Node sets Content-Length for some methods only.
  const sent = body === undefined ? headers : { 'Content-Length': String(body.length), ...headers }
  return new Promise((resolve, reject) => {
    // On a separate connection, because a host that responds early closes it.
    httpRequest({ hostname, port, path, headers: sent, method, agent: false, signal }, async (reply) => {
      try {
        const content = Buffer.concat(await reply.toArray())
        const headers = reply.headers as Record<string, string | undefined>
        resolve({ status: reply.statusCode!, headers, body: content })
      } catch (error) {
        reject(error)
      }
    })
      .on('error', reject)
      .end(body)
  })
}
