import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'

/** A plain web server on a free port. */
export interface Host {
  /** Ends with "/". */
  readonly url: string
  close(): Promise<void>
}

type Headers = Readonly<Record<string, string>>

/** Serves the same HTML at every path. */
export function serveText(html: string, headers: Headers = {}): Promise<Host> {
  return listen(
    createServer((_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/html', ...headers }).end(html)
    }),
  )
}

const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
}

/** Serves files with media types by extension, and index.html for folders. */
export function serveFolder(folder: string, headers: Headers = {}): Promise<Host> {
  return listen(
    createServer(async (request, response) => {
      const path = new URL(request.url!, 'http://host').pathname
      const read = async (name: string) => ({ name, bytes: await readFile(join(folder, name)) })
      try {
        const file = await read(path).catch(() => read(`${path}/index.html`))
        const type = types[extname(file.name)] ?? 'application/octet-stream'
        response.writeHead(200, { 'Content-Type': type, ...headers }).end(file.bytes)
      } catch {
        response.writeHead(404).end()
      }
    }),
  )
}

/** Starts a server on a free port of this machine. */
export async function listen(server: Server): Promise<Host> {
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
