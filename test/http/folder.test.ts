// Faults of the folder store that no other store has: concurrent readers, killed writers, files changed by other programs.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { folderStorage } from '../../edge/server/storage/folder.ts'
import { request } from './hosts.ts'

/** The token of `test/support/small-disk.ts`. */
const publishToken = 'a token of many letters'

const folder = await mkdtemp(join(tmpdir(), 'ddpm-folder-'))
after(() => rm(folder, { recursive: true, force: true }))

test('the media type of an object is complete while the object is written again', async () => {
  const storage = folderStorage(join(folder, 'types'))
  const mediaTypes = ['application/json', 'image/png']
  await storage.put('object', 'x', { mediaType: mediaTypes[0]! })
  let writing = true
  const write = async () => {
    for (let i = 0; i < 60; i++) await storage.put('object', 'x', { mediaType: mediaTypes[i % 2]! })
    writing = false
  }
  const seen = new Set<string>()
  const read = async () => {
    while (writing) seen.add((await storage.head('object'))!.mediaType)
  }
  await Promise.all([write(), read(), read(), read()])
  assert.deepEqual([...seen].sort(), mediaTypes)
})

test('the file with the media type is not written again if the type stays the same', async () => {
  const storage = folderStorage(join(folder, 'same'))
  await storage.put('object', 'x', { mediaType: 'image/png' })
  const { ino, mtimeMs } = await stat(join(folder, 'same/.types/object'))
  await storage.put('object', 'y', { mediaType: 'image/png' })
  const again = await stat(join(folder, 'same/.types/object'))
  assert.deepEqual([again.ino, again.mtimeMs], [ino, mtimeMs])
})

test('parts of writers that were killed are removed after an hour, and those of current writers stay', async () => {
  const parts = join(folder, 'parts/.parts')
  await mkdir(parts, { recursive: true })
  const hours = (count: number) => new Date(Date.now() - count * 3_600_000)
  for (const [name, age] of Object.entries({ killed: 2, current: 0.5 })) {
    await writeFile(join(parts, name), 'incomplete')
    await utimes(join(parts, name), hours(age), hours(age))
  }
  await folderStorage(join(folder, 'parts')).put('object', 'x', { mediaType: 'image/png' })
  assert.deepEqual(await readdir(parts), ['current'])
})

test('a file that becomes shorter while it is sent ends as an aborted response', async () => {
  const root = join(folder, 'short')
  const storage = folderStorage(root)
  // Larger than the buffers between the file and the client.
  const content = Buffer.concat([randomBytes(1000), Buffer.alloc(64 * 2 ** 20)])
  const sha256 = createHash('sha256').update(content).digest('hex')
  await storage.put(keys.file(sha256), content, { mediaType: 'application/octet-stream', sha256 })
  const serving = await serveOnNode({ storage, publicFolder: root, port: 0, limits: null, log: () => {} })
  try {
    const { hostname, port } = new URL(serving.url)
    const head = `HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`
    const socket = connect(Number(port), hostname)
    // Two requests on one connection: after a complete response, the server would send the second one.
    socket.write(`GET /files/${sha256} ${head}GET /healthz ${head}`)
    let shortened = false
    const received: Buffer[] = []
    for await (const chunk of socket) {
      if (!shortened) await truncate(join(root, keys.file(sha256)), 1_000_000)
      shortened = true
      received.push(chunk as Buffer)
    }
    const text = Buffer.concat(received).toString('latin1')
    assert.ok(text.toLowerCase().includes(`content-length: ${content.length}\r\n`))
    assert.equal(text.match(/HTTP\/1\.1/g)!.length, 1, 'nothing follows the incomplete response')
    assert.ok(text.length < content.length)
  } finally {
    await serving.stop()
  }
})

test('a full disk is a 507, and reads still work', async (t) => {
  const disk = join(folder, 'disk')
  await mkdir(disk)
  // A file system of 2 MB, which only this process and its children see.
  const script = `mount -t tmpfs -o size=2m none ${disk} && exec "$0" "$@"`
  const server = fileURLToPath(new URL('../support/small-disk.ts', import.meta.url))
  const child = spawn('unshare', ['-rm', 'sh', '-c', script, process.execPath, server, disk], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const started = await Promise.race([once(child, 'error').then(() => null), lines.next()])
  if (started === null || started.done) return t.skip('needs Linux and "unshare -rm mount": not allowed here')
  try {
    const url = started.value
    const put = (content: Buffer) => {
      const path = `/files/${createHash('sha256').update(content).digest('hex')}`
      return request(url, path, { Authorization: `Bearer ${publishToken}` }, 'PUT', content)
    }
    const small = randomBytes(100_000)
    const stored = await put(small)
    assert.equal(stored.status, 201)
    const full = await put(randomBytes(5_000_000))
    assert.equal(full.status, 507)
    assert.match(full.body.toString(), /The disk of the store is full\. Free some space/)
    const read = await request(url, stored.headers['location']!)
    assert.ok(read.body.equals(small))
    assert.equal((await put(randomBytes(100_000))).status, 201, 'the incomplete file was removed')
  } finally {
    child.stdin.end()
    await once(child, 'close')
  }
})
