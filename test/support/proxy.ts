import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Transform } from 'node:stream'

/** Stands between browser and server, sees what is asked for, and can get in the way. */
export interface Between {
  readonly url: string
  /** Paths asked for, in order. */
  readonly paths: string[]
  /** What was asked for, with what decides about ranges, and how it was answered. */
  readonly asked: Asked[]
  /** What becomes of the answers of one path; null leaves all whole. */
  trouble: Trouble | null
  close(): Promise<void>
}

export interface Asked {
  readonly path: string
  readonly range: string | undefined
  readonly ifRange: string | undefined
  status: number | null
  /** Of the answer's body, as sent. */
  bytes: number
}

export interface Trouble {
  readonly path: string
  /** After how many bytes the connection is cut, in one answer after the other; the rest stay whole. */
  readonly cuts: number[]
  /** The server is not told of the range, and answers with everything. */
  readonly hideRange?: boolean
  /** How many answers have a wrong bit in every piece. */
  damages?: number
}

/** A proxy on a port of its own, which makes it an origin of its own. */
export async function startProxy(target: string): Promise<Between> {
  const paths: string[] = []
  const asked: Asked[] = []
  const handle = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const path = incoming.url!
    paths.push(path)
    const { method } = incoming
    const { range, 'if-range': ifRange, ...others } = incoming.headers
    const seen: Asked = { path, range, ifRange: ifRange as string | undefined, status: null, bytes: 0 }
    asked.push(seen)
    const trouble = proxy.trouble?.path === path ? proxy.trouble : null
    const headers = trouble?.hideRange ? others : incoming.headers
    const forward = request(`${target}${path}`, { method, headers }, (answer) => {
      seen.status = answer.statusCode!
      outgoing.writeHead(answer.statusCode!, answer.headers)
      answer.on('data', (chunk: Buffer) => {
        seen.bytes += chunk.length
      })
      if (trouble?.damages) {
        trouble.damages--
        return answer.pipe(damaging()).pipe(outgoing)
      }
      const bytes = trouble?.cuts.shift()
      if (bytes === undefined) return answer.pipe(outgoing)
      answer.pipe(cutting(bytes, () => outgoing.destroy())).pipe(outgoing)
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
    asked,
    trouble: null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return proxy
}

function damaging(): Transform {
  return new Transform({
    transform(chunk: Buffer, _, done) {
      chunk[0]! ^= 1
      done(null, chunk)
    },
  })
}

/** Lets so many bytes through, then cuts once they are on their way. */
function cutting(bytes: number, cut: () => void): Transform {
  let left = bytes
  if (left === 0) cut()
  return new Transform({
    transform(chunk: Buffer, _, done) {
      if (left === 0) return
      const passed = chunk.subarray(0, left)
      left -= passed.length
      done(null, passed)
      // Time for the bytes to leave: a socket that is destroyed forgets what it holds.
      if (left === 0) setTimeout(cut, 100)
    },
  })
}
