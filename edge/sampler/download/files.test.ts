import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { suite, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { listen } from '../../../test/support/file-host.ts'
import type { DownloadProgress } from '../base/protocol.ts'
import { fetchFiles } from './files.ts'

suite('download progress', () => {
  // A quarter of the file is random, so that it compresses to about a quarter.
  const contents = Buffer.concat([randomBytes(250_000), Buffer.alloc(750_000)])
  const compressed = gzipSync(contents)
  const plain = randomBytes(100_000)

  /** Downloads a compressed file and a plain one. Returns the progress. */
  async function download(headers: Record<string, number>, wireBytes?: number): Promise<DownloadProgress[]> {
    const server = createServer((request, response) => {
      if (request.url === '/plain') return void response.setHeader('Content-Length', plain.length).end(plain)
      response.writeHead(200, { 'Content-Encoding': 'gzip', ...headers })
      response.write(compressed)
      response.end()
    })
    const host = await listen(server)
    const fileOf = (name: string, bytes: Buffer) => ({
      url: `${host.url}${name}`,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      bytes: bytes.length,
      hasHashTag: false,
      purpose: name,
    })
    const progress: DownloadProgress[] = []
    const packed = { ...fileOf('packed', contents), ...(wireBytes && { wireBytes }) }
    const files = await fetchFiles([packed, fileOf('plain', plain)], {
      cache: false,
      onProgress: (event) => progress.push(event),
      onUncached() {},
    })
    await host.close()
    assert.deepEqual(
      files.map((file) => Buffer.from(file).equals(file === files[0] ? contents : plain)),
      [true, true],
    )
    return progress
  }

  test('counts the bytes on the wire if the server compresses a file', async () => {
    const progress = await download({ 'Content-Length': compressed.length }, 260_000)
    const expected = compressed.length + plain.length
    assert.deepEqual([progress.at(-1)!.loaded, progress.at(-1)!.total], [expected, expected])
    assert.ok(progress.every(({ loaded, total }) => loaded <= total && total < 400_000))
  })

  test('uses the estimate if the response has no length', async () => {
    const { loaded, total } = (await download({}, 260_000)).at(-1)!
    assert.deepEqual([loaded, total], [360_000, 360_000])
  })
})
