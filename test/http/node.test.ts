// Features of the Node host that Cloudflare provides for the Worker: rate limits, static files, timeouts.
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import { defaultLimits, rateLimit } from '../../edge/commands/hosting/rate-limit.ts'
import type { RunningServer } from '../../edge/commands/hosting/workerd.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import { request } from './hosts.ts'
import { fill, page, type Site } from './site.ts'

/** Low limits, so that a slow machine can exceed them within a minute. */
const limits = { list: 10, read: 20 }

const publishToken = 'a token of many letters'

const script = `// ${'The sampler module. '.repeat(200)}\n`

let publicFolder: string
let serving: RunningServer
let site: Site
before(async () => {
  publicFolder = await mkdtemp(join(tmpdir(), 'ddpm-node-'))
  await writeFile(join(publicFolder, 'index.html'), page)
  await writeFile(join(publicFolder, 'sampler.js'), script)
  await mkdir(join(publicFolder, 'explain'))
  await writeFile(join(publicFolder, 'explain', 'index.html'), page)
  const storage = memoryStorage()
  site = await fill(storage)
  serving = await serveOnNode({
    storage,
    publicFolder,
    port: 0,
    publishToken,
    limits,
    log: () => {},
  })
})
after(async () => {
  await serving?.stop()
  await rm(publicFolder, { recursive: true, force: true })
})

/** Sends a number of requests, one after the other, and returns their statuses. */
async function statuses(
  count: number,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<number[]> {
  const received: number[] = []
  for (let i = 0; i < count; i++) received.push((await request(serving.url, path, headers, method)).status)
  return received
}

test('the rate limit for listings applies per address, and not to other requests', async () => {
  const from = (address: string) => ({ 'X-Forwarded-For': address })
  assert.equal(
    (await statuses(limits.list + 1, '/api/models', from('203.0.113.7'))).indexOf(429),
    limits.list,
  )
  const refused = await request(serving.url, '/api/models', from('203.0.113.7'))
  assert.deepEqual([refused.headers['retry-after'], refused.headers['cache-control']], ['60', 'no-store'])
  assert.deepEqual(await statuses(1, '/healthz', from('203.0.113.7')), [200])
  assert.deepEqual(await statuses(1, site.subjects.model.subject.path, from('203.0.113.7')), [200])
  assert.deepEqual(await statuses(1, '/', from('203.0.113.7')), [200])
  assert.deepEqual(await statuses(1, '/api/models', from('203.0.113.8')), [200])
  // The last address is the proxy's; the client may forge those before it.
  assert.deepEqual(await statuses(1, '/api/models', from('198.51.100.1, 203.0.113.7')), [429])
  assert.deepEqual(await statuses(1, '/api/models'), [200])
})

test('a file of the page that changes on disk is served with its new content and tag', async () => {
  const path = join(publicFolder, 'changing.js')
  const received = []
  for (const content of ['// one', '// two, longer']) {
    await writeFile(path, content)
    const reply = await request(serving.url, '/changing.js', { 'Accept-Encoding': 'br' })
    assert.equal(brotliDecompressSync(reply.body).toString(), content)
    received.push(reply.headers['etag'])
  }
  assert.notEqual(received[0], received[1])
})

test('files of the page are compressed if the client accepts it, and not sent again if unmodified', async () => {
  const compressed = await request(serving.url, '/sampler.js', { 'Accept-Encoding': 'br, gzip' })
  assert.equal(compressed.headers['content-encoding'], 'br')
  assert.equal(brotliDecompressSync(compressed.body).toString(), script)
  const gzipped = await request(serving.url, '/sampler.js', { 'Accept-Encoding': 'gzip' })
  assert.equal(gunzipSync(gzipped.body).toString(), script)
  assert.equal(gzipped.headers['content-length'], String(gzipped.body.length))
  const plain = await request(serving.url, '/sampler.js', { 'Accept-Encoding': 'gzip;q=0' })
  assert.deepEqual([plain.headers['content-encoding'], plain.body.toString()], [undefined, script])
  // RFC 9110, section 8.8.3.3: different bytes need different tags, or weak ones.
  assert.match(compressed.headers['etag']!, /^W\/"/)
  const tag = { 'If-None-Match': compressed.headers['etag']!, 'Accept-Encoding': 'gzip' }
  const again = await request(serving.url, '/sampler.js', tag)
  assert.deepEqual([again.status, again.body.length], [304, 0])
  // Section 15.4.5: a 304 has the headers of the 200.
  for (const { headers } of [compressed, plain, again]) {
    assert.deepEqual([headers['etag'], headers['vary']], [compressed.headers['etag'], 'Accept-Encoding'])
  }
})

test('HEAD of a file of the page has the headers of GET', async () => {
  const compared = (headers: Record<string, string | undefined>) => {
    // RFC 9110, section 9.3.2: fields that are determined while the content is generated may be missing.
    const { date: _, 'x-request-id': __, 'transfer-encoding': ___, ...others } = headers
    return others
  }
  for (const path of ['/', '/sampler.js', '/explain/']) {
    for (const coding of ['gzip', 'identity']) {
      const [get, head] = await Promise.all(
        ['GET', 'HEAD'].map((method) => request(serving.url, path, { 'Accept-Encoding': coding }, method)),
      )
      assert.equal(head!.body.length, 0)
      assert.match(head!.headers['etag']!, /^W\/"/)
      assert.deepEqual(compared(head!.headers), compared(get!.headers), `${path} ${coding}`)
    }
  }
})

test('the address of a folder redirects to the same address with a trailing slash', async () => {
  const { status, headers } = await request(serving.url, '/explain?model=ada/shapes')
  assert.deepEqual([status, headers['location']], [307, '/explain/?model=ada/shapes'])
  assert.deepEqual(await statuses(1, '/explain/'), [200])
  assert.deepEqual(await statuses(1, '/nothing'), [404])
})

test('a path that is longer than a file name may be is not found', async () => {
  const reply = await request(serving.url, `/${'a'.repeat(300)}`)
  assert.equal(reply.status, 404, String(reply.body))
})

test('the default limits are those of the Worker', async () => {
  const config = await readFile(new URL('../../wrangler.toml', import.meta.url), 'utf8')
  for (const [name, limit] of [
    ['LISTS', defaultLimits.list],
    ['READS', defaultLimits.read],
  ] as const) {
    assert.match(config, new RegExp(`name = "${name}"\\n.*\\nsimple = { limit = ${limit}, period = 60 }`))
  }
})

test('after too many wrong tokens, the right token is rejected too', async () => {
  const guess = { 'X-Forwarded-For': '203.0.113.9', Authorization: 'Bearer wrong' }
  const received = await statuses(limits.read + 1, `/files/${'0'.repeat(64)}`, guess, 'PUT')
  assert.deepEqual(received, [...Array<number>(limits.read).fill(401), 429])
  const right = { ...guess, Authorization: `Bearer ${publishToken}` }
  const path = `/files/${'0'.repeat(64)}/parts`
  assert.deepEqual(await statuses(1, path, right), [429])
  assert.deepEqual(await statuses(1, path, { ...right, 'X-Forwarded-For': '203.0.113.10' }), [200])
})

test('a token that is short enough to guess is refused', async () => {
  const options = { storage: memoryStorage(), publicFolder, port: 0, publishToken: 'fifteen letters' }
  await assert.rejects(serveOnNode(options), {
    name: 'UserError',
    message: /too short: expected at least 16 characters\. Create one with/,
  })
})

test('a request with two Host headers is rejected', { timeout: 60_000 }, async () => {
  // RFC 9112, section 3.2.
  for (const second of ['b', 'a']) {
    const received = await sendRaw(
      `GET / HTTP/1.1\r\nHost: a\r\nhost: ${second}\r\nConnection: close\r\n\r\n`,
      '',
    )
    assert.match(received, /^HTTP\/1\.1 400 [\s\S]*expected one Host header/)
  }
})

test('the rate limit counts per IPv4 address and per IPv6 /64 network, for one minute', () => {
  let now = 0
  const isWithinLimit = rateLimit({ list: 1, read: 2 }, () => now)
  assert.ok(isWithinLimit('list', '2001:db8::1'))
  for (const same of ['2001:db8::1', '2001:db8::ffff:2', '2001:db8:0:0:5::', '2001:db8:0:0:1:2:3:4']) {
    assert.ok(!isWithinLimit('list', same), same)
  }
  for (const other of [
    '2001:db8:0:1::1',
    '2001:db9::1',
    '::1',
    '::ffff:192.0.2.1',
    '::ffff:192.0.2.2',
    '192.0.2.1',
  ]) {
    assert.ok(isWithinLimit('list', other), other)
  }
  assert.ok(
    isWithinLimit('read', '2001:db8::1') &&
      isWithinLimit('read', '2001:db8::2') &&
      !isWithinLimit('read', '2001:db8::3'),
  )
  now = 59_999
  assert.ok(!isWithinLimit('list', '192.0.2.1'))
  now = 60_000
  assert.ok(isWithinLimit('list', '192.0.2.1'))
})

/** Sends raw bytes, and more every second, until the server closes the connection. Returns its response. */
function sendRaw(sent: string, more: string): Promise<string> {
  const { hostname, port } = new URL(serving.url)
  return new Promise((resolve) => {
    let received = ''
    const socket = connect(Number(port), hostname, () => socket.write(sent))
    const drip = setInterval(() => socket.write(more), 1000)
    socket.setEncoding('latin1').on('data', (text) => (received += text))
    socket.on('error', () => {})
    socket.on('close', () => {
      clearInterval(drip)
      resolve(received)
    })
  })
}

test('headers that never end, or are too long, close the connection', { timeout: 120_000 }, async () => {
  const [slow, long, many] = await Promise.all([
    sendRaw('GET / HTTP/1.1\r\nHost: x\r\n', 'X: y\r\n'),
    sendRaw(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`, ''),
    sendRaw(`GET / HTTP/1.1\r\nHost: x\r\n${'X: y\r\n'.repeat(3000)}\r\n`, ''),
  ])
  assert.match(slow, /^HTTP\/1\.1 408 /)
  assert.match(long, /^HTTP\/1\.1 431 /)
  assert.match(many, /^HTTP\/1\.1 431 /)
  assert.deepEqual(await statuses(1, '/'), [200])
})

test('invalid HTTP is rejected, and requests cannot be smuggled', {
  timeout: 120_000,
}, async () => {
  const close = 'Connection: close\r\n'
  const post = `POST /api/collection HTTP/1.1\r\nHost: x\r\n${close}`
  for (const sent of [
    `GET / HTTP/1.1\r\n${close}\r\n`,
    `GET / HTTP/1.1\r\nHost: a b\r\n${close}\r\n`,
    `GET /\x01 HTTP/1.1\r\nHost: x\r\n${close}\r\n`,
    `GET /\\..\\x HTTP/1.1\r\nHost: x\r\n${close}\r\n`,
    `${post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc`,
    `${post}Content-Length: -3\r\n\r\nabc`,
    `${post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n`,
  ]) {
    const received = await sendRaw(sent, '')
    assert.match(received, /^HTTP\/1\.1 400 /, sent)
    assert.equal(received.match(/HTTP\/1\.1/g)!.length, 1, sent)
  }
})
