import { read } from 'node:fs'
import type { ServerResponse } from 'node:http'
import type { FileRange } from '../../server/storage/folder.ts'

/** Bytes that are read at once. Each download needs two buffers of this size. */
const chunkBytes = 128 * 1024

/** Buffers that are not in use. They are reused, because new memory must be cleared by the system. */
const buffers: Buffer[] = []
const maxBuffers = 64

/**
 * Sends a response whose body is a range of a file, without web streams: several times as fast. Closes the connection if
 * the file is shorter than expected.
 */
export async function sendFile(
  outgoing: ServerResponse,
  { status, headers }: Response,
  { file, offset, length }: FileRange,
): Promise<void> {
  const own = [takeBuffer(), takeBuffer()]
  // Each promise is fulfilled when the content of a buffer was passed to the system, or the connection is closed: the
  // callback of a write is then not always called.
  const flushed: (Promise<void> | undefined)[] = []
  const waiting = new Set<() => void>()
  outgoing.once('close', () => {
    for (const resolve of waiting) resolve()
  })
  const write = (chunk: Buffer) =>
    new Promise<void>((resolve) => {
      waiting.add(resolve)
      outgoing.write(chunk, () => {
        waiting.delete(resolve)
        resolve()
      })
    })
  try {
    outgoing.writeHead(status, [...headers].flat())
    for (let sent = 0, turn = 0; sent < length; turn = 1 - turn) {
      await flushed[turn]
      if (outgoing.destroyed) return
      const size = Math.min(chunkBytes, length - sent)
      const bytes = await readInto(file.fd, own[turn]!, size, offset + sent)
      if (bytes === 0) {
        outgoing.destroy()
        return
      }
      sent += bytes
      flushed[turn] = write(own[turn]!.subarray(0, bytes))
    }
    await Promise.all(flushed)
    outgoing.end()
  } catch {
    outgoing.destroy()
  } finally {
    await Promise.all(flushed)
    if (buffers.length < maxBuffers) buffers.push(...own)
    await file.close()
  }
}

const takeBuffer = () => buffers.pop() ?? Buffer.allocUnsafeSlow(chunkBytes)

function readInto(fd: number, buffer: Buffer, size: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, buffer, 0, size, position, (error, bytes) => (error ? reject(error) : resolve(bytes)))
  })
}
