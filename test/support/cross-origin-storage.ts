import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { BrowserContext } from 'playwright-core'
import { listen } from './file-host.ts'

/**
 * Stand-in for the Cross-Origin Storage of a browser, as https://wicg.github.io/cross-origin-storage/ specifies it: no
 * browser has it yet. All pages that `addCrossOriginStorage` prepares share the store.
 */
export interface SharedStore {
  readonly url: string
  readonly entries: Map<string, Entry>
  /** The list of hashes that the browser reports to sites that have not stored them. */
  readonly publicHashes: Set<string>
  /** Requests in order, as "read <hash>" or "write <hash>". */
  readonly requests: string[]
  /** Name of the error of every request, for example 'NotAllowedError' if the permissions policy denies access. */
  refusal: string | null
  /** Resolves after the next write. */
  nextWrite(): Promise<void>
  close(): Promise<void>
}

export interface Entry {
  readonly bytes: Buffer
  readonly storingOrigins: Set<string>
  isGlobal: boolean
}

/** Starts an empty store. */
export async function startSharedStore(): Promise<SharedStore> {
  const writers: (() => void)[] = []
  const entries = new Map<string, Entry>()
  const publicHashes = new Set<string>()
  const requests: string[] = []

  const read = (hash: string, origin: string): Buffer | string => {
    const entry = entries.get(hash)
    if (!entry) return 'NotFoundError'
    const isDisclosed = entry.storingOrigins.has(origin) || (entry.isGlobal && publicHashes.has(hash))
    return isDisclosed ? entry.bytes : 'NotFoundError'
  }
  const write = (hash: string, origin: string, bytes: Buffer, isGlobal: boolean): Buffer | string => {
    if (createHash('sha256').update(bytes).digest('hex') !== hash) return 'DataError'
    const entry = entries.get(hash) ?? { bytes, storingOrigins: new Set<string>(), isGlobal }
    entry.storingOrigins.add(origin)
    entry.isGlobal ||= isGlobal
    entries.set(hash, entry)
    return Buffer.alloc(0)
  }
  const respond = async (request: IncomingMessage): Promise<Buffer | string> => {
    const { pathname, searchParams } = new URL(request.url!, 'http://store')
    const hash = pathname.slice(1)
    const isWrite = request.method === 'POST'
    requests.push(`${isWrite ? 'write' : 'read'} ${hash}`)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    if (store.refusal !== null) return store.refusal
    const origin = request.headers.origin!
    if (!isWrite) return read(hash, origin)
    return write(hash, origin, Buffer.concat(chunks), searchParams.get('origins') === '*')
  }
  const host = await listen(
    createServer(async (request, response) => {
      // If the page is closed while it sends a file, the request is aborted, and nothing is stored.
      const result = await respond(request).catch(() => null)
      if (result === null) return
      const status = typeof result === 'string' ? 400 : 200
      response.writeHead(status, { 'Access-Control-Allow-Origin': '*' }).end(result)
      if (request.method === 'POST') for (const notify of writers.splice(0)) notify()
    }),
  )
  const store: SharedStore = {
    ...host,
    entries,
    publicHashes,
    requests,
    refusal: null,
    nextWrite: () => new Promise((resolve) => writers.push(resolve)),
  }
  return store
}

/**
 * Defines `navigator.crossOriginStorage` in the workers of a context.
 * @param method name of the method: earlier drafts have 'requestFileHandle'
 */
export async function addCrossOriginStorage(
  context: BrowserContext,
  store: SharedStore,
  method: 'getFileHandle' | 'requestFileHandle' = 'getFileHandle',
): Promise<void> {
  const definition = `;(${defineInWorker})(${JSON.stringify(store.url)}, ${JSON.stringify(method)});`
  await context.route('**/worker-*.js', async (route) => {
    const response = await route.fetch()
    await route.fulfill({ response, body: definition + (await response.text()) })
  })
}

/** Runs in a worker. */
function defineInWorker(url: string, method: string): void {
  const send = async (address: string, init?: RequestInit): Promise<Blob> => {
    const response = await fetch(`${url}${address}`, { cache: 'no-store', ...init })
    if (response.ok) return response.blob()
    const name = await response.text()
    throw new DOMException(`The request was refused: ${name}`, name)
  }
  const getFileHandle = async (
    hash: { algorithm: string; value: string },
    options: { create?: boolean; origins?: string | string[] } = {},
  ) => {
    if (hash.algorithm !== 'SHA-256' || !/^[0-9a-f]{64}$/.test(hash.value))
      throw new TypeError('Invalid hash')
    if (!options.create) {
      const file = await send(hash.value)
      return { getFile: async () => file }
    }
    const chunks: BlobPart[] = []
    return {
      // A handle for writing cannot be read until the correct contents are written.
      async getFile() {
        throw new DOMException('Not readable', 'NotAllowedError')
      },
      async createWritable() {
        return {
          write: async (chunk: BlobPart) => void chunks.push(chunk),
          close: async () =>
            void (await send(`${hash.value}?origins=${options.origins ?? ''}`, {
              method: 'POST',
              body: new Blob(chunks),
            })),
        }
      },
    }
  }
  Object.defineProperty(navigator, 'crossOriginStorage', { value: { [method]: getFileHandle } })
}
