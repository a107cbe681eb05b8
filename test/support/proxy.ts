import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Transform } from 'node:stream'

/** A proxy between client and server that records requests and can inject a fault. */
export interface FaultyProxy {
  readonly url: string
  /** Requested paths, in order. */
  readonly paths: string[]
  /** Requests in order, with their range headers and the status and size of their responses. */
  readonly requests: ProxiedRequest[]
  /** Fault in the responses for one path; null for no fault. */
  trouble: Fault | null
  close(): Promise<void>
}

export interface ProxiedRequest {
  readonly path: string
  readonly range: string | undefined
  readonly ifRange: string | undefined
  status: number | null
  /** Size of the response body as received from the server. */
  bytes: number
}

export interface Fault {
  readonly path: string
  /**
   * Numbers of bytes after which the connection is closed: the first for the first response, and so on. Further responses are
   * complete.
   */
  readonly cuts: number[]
  /** Removes Range and If-Range from the request, so that the server responds with the complete file. */
  readonly hideRange?: boolean
  /** Number of further responses in which one bit of every chunk is flipped. */
  damages?: number
}

/** Starts a proxy on a free port. Its origin therefore differs from that of the server. */
export async function startProxy(target: string): Promise<FaultyProxy> {
  const paths: string[] = []
  const requests: ProxiedRequest[] = []
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const path = incoming.url!
    paths.push(path)
    const { method } = incoming
    const { range, 'if-range': ifRange, ...others } = incoming.headers
    const record: ProxiedRequest = {
      path,
      range,
      ifRange: ifRange as string | undefined,
      status: null,
      bytes: 0,
    }
    requests.push(record)
    const trouble = proxy.trouble?.path === path ? proxy.trouble : null
    const headers = trouble?.hideRange ? others : incoming.headers
    const forward = request(`${target}${path}`, { method, headers }, (response) => {
      record.status = response.statusCode!
      outgoing.writeHead(response.statusCode!, response.headers)
      response.on('data', (chunk: Buffer) => {
        record.bytes += chunk.length
      })
      if (trouble?.damages) {
        trouble.damages--
        return response.pipe(flipBits()).pipe(outgoing)
      }
      const bytes = trouble?.cuts.shift()
      if (bytes === undefined) return response.pipe(outgoing)
      response.pipe(closeAfter(bytes, () => outgoing.destroy())).pipe(outgoing)
    })
    forward.on('error', () => outgoing.destroy())
    outgoing.on('close', () => forward.destroy())
    incoming.pipe(forward)
  }
  const server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  const proxy: FaultyProxy = {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    paths,
    requests,
    trouble: null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return proxy
}

function flipBits(): Transform {
  return new Transform({
    transform(chunk: Buffer, _, done) {
      chunk[0]! ^= 1
      done(null, chunk)
    },
  })
}

/** Passes a number of bytes, discards the rest and closes the connection. */
function closeAfter(bytes: number, close: () => void): Transform {
  let left = bytes
  if (left === 0) close()
  return new Transform({
    transform(chunk: Buffer, _, done) {
      if (left === 0) return
      const passed = chunk.subarray(0, left)
      left -= passed.length
      done(null, passed)
      // Destroying a socket discards its buffer. The delay lets the bytes be sent first.
      if (left === 0) setTimeout(close, 100)
    },
  })
}
