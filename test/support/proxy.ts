import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Stands between browser and server, sees what is asked for, and can break a connection. */
export interface Between {
  readonly url: string
  /** Paths asked for, in order. */
  readonly paths: string[]
  /** A path whose answer breaks off after its first bytes; null leaves all whole. */
  breakOff: string | null
  close(): Promise<void>
}

/** A proxy on a port of its own, which makes it an origin of its own. */
export async function startProxy(target: string): Promise<Between> {
  const paths: string[] = []
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const path = incoming.url!
    paths.push(path)
    const { method, headers } = incoming
    const forward = request(`${target}${path}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers)
      if (path === proxy.breakOff)
        answer.once('data', (first) => outgoing.write(first, () => outgoing.destroy()))
      else answer.pipe(outgoing)
    })
    forward.on('error', () => outgoing.destroy())
    outgoing.on('close', () => forward.destroy())
    incoming.pipe(forward)
  }
  const server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  const proxy: Between = {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    paths,
    breakOff: null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return proxy
}
