// The whole server side as it runs: models published by the command, served by workerd, asked over HTTP.
import assert from 'node:assert/strict'
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type IncomingHttpHeaders, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { formatManifest, type Manifest, storageKeys } from '@ddpm/shared'
import { localBucket } from '../edge/commands/bucket.ts'
import { type Overrides, readExported } from '../edge/commands/exported.ts'
import { type Serving, serve } from '../edge/commands/serve.ts'
import { uploadModel, uploadRuntime } from '../edge/commands/upload.ts'
import { command } from './support/command.ts'
import { writeExported } from './support/exported.ts'

const assets: Record<string, string> = {
  'index.html': '<!doctype html><title>page</title>',
  'page.js': 'export {}',
  'sampler.js': 'export const load = 1',
  'worker-wasm.js': 'postMessage(1)',
  'style.css': 'body { color: black }',
}

let folder: string
let persistTo: string
let server: Serving
let manifest: Manifest
/** Bytes of the published model, and where they are served. */
let model: Buffer
let address: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ddpm-workerd-'))
  persistTo = join(folder, 'state')
  const publicFolder = join(folder, 'public')
  await mkdir(publicFolder)
  for (const [name, text] of Object.entries(assets)) await writeFile(join(publicFolder, name), text)
  server = await serve({ port: 0, persistTo, publicFolder, quiet: true })
  const exported = await writeExported(join(folder, 'run/export'), 'ada/shapes', {
    graph: 700_001,
    preview: 999,
  })
  manifest = exported.manifest
  model = exported.contents[0]!
  address = `/files/${manifest.files[0]!.sha256}`
})

after(async () => {
  await server?.stop()
  await rm(folder, { recursive: true, force: true })
})

interface Reply {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}

/** Sends the path as it is; fetch would tidy it. */
function ask(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Reply> {
  const { hostname, port } = new URL(server.url)
  return new Promise((resolve, reject) => {
    request({ hostname, port, path, headers, method }, async (reply) => {
      const body = Buffer.concat(await reply.toArray())
      resolve({ status: reply.statusCode!, headers: reply.headers, body })
    })
      .on('error', reject)
      .end()
  })
}

/** Checks that a reply is a problem (RFC 9457) of this status, not to be stored; gives its detail. */
function problemOf(reply: Reply, status: number): string {
  assert.equal(reply.status, status, reply.body.toString())
  assert.equal(reply.headers['content-type'], 'application/problem+json')
  assert.equal(reply.headers['cache-control'], 'no-store')
  const problem = JSON.parse(reply.body.toString()) as Record<string, unknown>
  assert.equal(problem['status'], status)
  assert.ok(typeof problem['title'] === 'string' && problem['type'] === 'about:blank')
  return String(problem['detail'])
}

const json = (reply: Reply) => JSON.parse(reply.body.toString())
const publish = (...args: string[]) => command(['publish', ...args, '--persist-to', persistTo])

test('an empty bucket: no models, and how to publish one', async () => {
  const list = await ask('/api/models')
  assert.deepEqual(json(list), { models: [] })
  assert.equal(list.headers['cache-control'], 'no-store')
  assert.match(
    problemOf(await ask('/api/models/ada/shapes'), 404),
    /No model is named "ada\/shapes".*npm run publish/,
  )
})

test('publish refuses what is no sound export, and stores nothing of it', async () => {
  const damaged = join(folder, 'damaged')
  const { manifest } = await writeExported(damaged, 'ada/damaged', { graph: 5000, preview: 50 })
  const [graph, preview] = manifest.files
  await writeFile(join(damaged, 'preview.png'), Buffer.alloc(50))
  const wrongHash = await publish(damaged)
  assert.equal(wrongHash.status, 1)
  assert.match(
    wrongHash.stderr,
    new RegExp(`damaged/preview.png has the SHA-256 [0-9a-f]{64}.*${preview!.sha256}`),
  )
  assert.match(wrongHash.stderr, /export the model again/)

  await appendFile(join(damaged, 'model.onnx'), '!')
  assert.match((await publish(damaged)).stderr, /model.onnx has 5001 bytes; the manifest says 5000/)
  await rm(join(damaged, 'model.onnx'))
  assert.match((await publish(damaged)).stderr, /model.onnx is missing/)
  assert.match((await publish(damaged, '--name', 'nobody')).stderr, /expected owner\/name/)
  await writeFile(join(damaged, 'manifest.json'), '{"version": 1}')
  assert.match((await publish(damaged)).stderr, /not a valid manifest[\s\S]*licence/)

  await mkdir(join(folder, 'trained'))
  assert.match((await publish(join(folder, 'trained'))).stderr, /npm run export -- .*trained/)
  const absent = await publish(join(folder, 'absent'))
  assert.match(absent.stderr, /^There is no folder ".*absent"; expected [^\n]*\n$/, 'one line, no stack')

  assert.deepEqual(json(await ask('/api/models')), { models: [] })
  for (const { sha256 } of [graph!, preview!]) problemOf(await ask(`/files/${sha256}`), 404)
})

test('the bucket itself refuses bytes that are not those of the hash', async () => {
  const path = join(folder, 'bytes')
  await writeFile(path, 'bytes')
  const bucket = await localBucket(persistTo)
  const sha256 = 'a'.repeat(64)
  const file = { path, sha256, bytes: 5, mediaType: 'text/plain' }
  await assert.rejects(bucket.putFile(storageKeys.file(sha256), file), /checksum/)
  await bucket.close()
  problemOf(await ask(`/files/${sha256}`), 404)
})

test('a bucket that cannot be kept where it should be is named', async () => {
  const file = join(folder, 'run/export/model.onnx')
  await assert.rejects(localBucket(file), /Cannot keep the local bucket in ".*model.onnx".*--persist-to/)
})

test('publish, while the server runs: a run folder, twice, then under another name', async () => {
  const first = await publish(join(folder, 'run'))
  assert.deepEqual(first, { status: 0, stdout: 'Published ada/shapes locally.\n', stderr: '' })
  const stored = await ask('/api/models/ada/shapes')
  assert.equal(stored.body.toString(), formatManifest(manifest))

  const second = await publish(join(folder, 'run/export'))
  assert.equal(second.stdout, 'ada/shapes is already published locally; nothing changed.\n')
  assert.equal((await ask('/api/models/ada/shapes')).headers.etag, stored.headers.etag)

  const bucket = await localBucket(persistTo)
  const again = async (overrides: Overrides) => {
    const exported = await readExported(join(folder, 'run'), overrides)
    return await uploadModel(bucket, exported.manifest, exported.files)
  }
  assert.equal(await again({ description: 'Figures.', licence: 'MIT' }), 'changed')
  assert.notEqual((await ask('/api/models/ada/shapes')).headers.etag, stored.headers.etag)
  assert.equal(await again({ name: 'bob/figures' }), 'new')
  await bucket.close()

  const { name, shape, classes, licence, training, description, files } = manifest
  const summary = { name, description, shape, classes, licence, training, preview: files[1]!.sha256 }
  assert.deepEqual(json(await ask('/api/models')), {
    models: [
      { ...summary, description: 'Figures.', licence: 'MIT' },
      { ...summary, name: 'bob/figures' },
    ],
  })
  const detail = problemOf(await ask('/api/models/ada/shape'), 404)
  assert.equal(detail, 'No model is named "ada/shape"; published here: ada/shapes, bob/figures.')
})

test('a manifest of another version does not spoil the list', async () => {
  const bucket = await localBucket(persistTo)
  await bucket.putText(storageKeys.manifest('eve/future'), '{"version": 99}')
  await bucket.close()
  const { models } = json(await ask('/api/models')) as { models: { name: string }[] }
  assert.deepEqual(
    models.map(({ name }) => name),
    ['ada/shapes', 'bob/figures'],
  )
})

test('a manifest is revalidated by its entity tag', async () => {
  const { headers } = await ask('/api/models/ada/shapes')
  assert.equal(headers['content-type'], 'application/json')
  assert.equal(headers['cache-control'], 'no-cache')
  const again = await ask('/api/models/ada/shapes', { 'If-None-Match': headers.etag! })
  assert.deepEqual([again.status, again.body.length, again.headers.etag], [304, 0, headers.etag])
})

test('a file whole: its bytes, and headers that let it be kept for ever', async () => {
  const { status, headers, body } = await ask(address)
  assert.equal(status, 200)
  assert.ok(body.equals(model))
  assert.equal(headers['content-length'], String(model.length))
  assert.equal(headers['content-type'], 'application/octet-stream')
  assert.equal(headers['etag'], `"${manifest.files[0]!.sha256}"`)
  assert.equal(headers['cache-control'], 'public, max-age=31536000, immutable')
  assert.equal(headers['accept-ranges'], 'bytes')
  const preview = await ask(`/files/${manifest.files[1]!.sha256}`)
  assert.deepEqual([preview.headers['content-type'], preview.body.length], ['image/png', 999])

  const head = await ask(address, {}, 'HEAD')
  assert.equal(head.status, 200)
  assert.equal(head.body.length, 0)
  for (const name of [
    'content-length',
    'content-type',
    'etag',
    'accept-ranges',
    'cache-control',
    'last-modified',
  ]) {
    assert.equal(head.headers[name], headers[name], name)
  }
})

test('ranges of a file', async () => {
  const size = 700_001
  const parts: [string, number, number][] = [
    ['bytes=0-0', 0, 1],
    ['bytes=100-299999', 100, 300_000],
    ['bytes=700000-', 700_000, size],
    ['bytes=699999-800000', 699_999, size],
    ['bytes=-5', size - 5, size],
    ['bytes=-800000', 0, size],
  ]
  for (const [range, start, end] of parts) {
    const { status, headers, body } = await ask(address, { Range: range })
    assert.equal(status, 206, range)
    assert.equal(headers['content-range'], `bytes ${start}-${end - 1}/${size}`)
    assert.equal(headers['content-length'], String(end - start))
    assert.match(headers['cache-control']!, /immutable, no-transform$/)
    assert.ok(body.equals(model.subarray(start, end)), range)
  }
  for (const range of ['bytes=0-1,5-6', 'bytes=5-2', 'lines=0-1', 'bytes=x-y']) {
    const { status, headers, body } = await ask(address, { Range: range })
    assert.deepEqual([status, headers['content-range'], body.equals(model)], [200, undefined, true], range)
  }
  for (const range of ['bytes=700001-', 'bytes=-0']) {
    const reply = await ask(address, { Range: range })
    assert.match(problemOf(reply, 416), /700001 bytes/)
    assert.equal(reply.headers['content-range'], 'bytes */700001')
  }
  const head = await ask(address, { Range: 'bytes=0-1' }, 'HEAD')
  assert.deepEqual([head.status, head.headers['content-length']], [200, '700001'])
})

test('a download that broke off goes on where it stopped', async () => {
  const start = await ask(address, { Range: 'bytes=0-123455' })
  const rest = await ask(address, { Range: 'bytes=123456-', 'If-Range': start.headers.etag! })
  assert.equal(rest.status, 206)
  assert.ok(Buffer.concat([start.body, rest.body]).equals(model))
  const changed = await ask(address, { Range: 'bytes=123456-', 'If-Range': '"another"' })
  assert.deepEqual([changed.status, changed.body.equals(model)], [200, true])
})

test('preconditions of a file', async () => {
  const { etag, 'last-modified': modified } = (await ask(address, {}, 'HEAD')).headers
  for (const method of ['GET', 'HEAD']) {
    for (const condition of [{ 'If-None-Match': etag! }, { 'If-Modified-Since': modified! }]) {
      const reply = await ask(address, { ...condition, Range: 'bytes=0-1' }, method)
      assert.deepEqual([reply.status, reply.body.length, reply.headers.etag], [304, 0, etag])
      assert.match(reply.headers['cache-control']!, /immutable/)
    }
  }
  problemOf(await ask(address, { 'If-Match': '"another"' }), 412)
  problemOf(await ask(address, { 'If-Unmodified-Since': 'Mon, 01 Jan 2001 00:00:00 GMT' }), 412)
  assert.equal((await ask(address, { 'If-Match': etag! })).status, 200)
})

test('paths that name nothing, or try to name something else', async () => {
  const { sha256 } = manifest.files[0]!
  const paths = [
    '/files/',
    '/files/abc',
    `/files/${'0'.repeat(64)}`,
    `/files/${sha256.toUpperCase()}`,
    `/files/${sha256}/`,
    `/files//${sha256}`,
    `/files/..%2ffiles%2f${sha256}`,
    `/files/${sha256}%00`,
    '/files/..%2fmodels%2fada%2fshapes.json',
    '/api/models/..%2f..%2ffiles/x',
    '/api/models/ada%2fshapes',
    '/api/models/ada/shapes%00',
    '/api/models/ada/shapes.json',
    '/api/models//shapes',
    '/api/models/ada/%E0%A4%A',
    '/api/nothing',
    '//evil.example/',
    '//evil.example/..',
    '/..%2fwrangler.toml',
    '/%5cevil.example',
    '/nothing',
    '/.env',
  ]
  for (const path of paths) {
    const detail = problemOf(await ask(path), 404)
    assert.ok(detail.length > 10, path)
  }
})

test('other methods are refused by name', async () => {
  for (const path of ['/', '/sampler.js', '/api/models', '/api/models/ada/shapes', address]) {
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const reply = await ask(path, {}, method)
      assert.match(problemOf(reply, 405), new RegExp(method))
      assert.equal(reply.headers['allow'], 'GET, HEAD', path)
    }
  }
})

test('the page and its files, isolated so that WebAssembly may use threads', async () => {
  for (const [name, text] of Object.entries(assets)) {
    const { status, headers, body } = await ask(name === 'index.html' ? '/' : `/${name}`)
    assert.deepEqual([status, body.toString()], [200, text], name)
    assert.equal(headers['cross-origin-opener-policy'], 'same-origin')
    assert.equal(headers['cross-origin-embedder-policy'], 'require-corp')
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.equal(headers['strict-transport-security'], 'max-age=31536000')
    assert.ok(headers['referrer-policy'] && headers['permissions-policy'])
    const policy = String(headers['content-security-policy'])
    assert.match(policy, /default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:/)
    assert.doesNotMatch(policy, /unsafe-inline|'unsafe-eval'|\*/)
  }
  const again = await ask('/', { 'If-None-Match': (await ask('/')).headers.etag! })
  assert.equal(again.status, 304)
  assert.deepEqual(
    [(await ask('/index.html')).status, (await ask('/index.html')).headers.location],
    [307, '/'],
  )
})

test('other sites may read models and the sampler, but not the page', async () => {
  const origin = { Origin: 'https://elsewhere.example' }
  for (const path of ['/sampler.js', '/worker-wasm.js', '/api/models', '/api/models/ada/none', address]) {
    const { headers } = await ask(path, origin)
    assert.equal(headers['access-control-allow-origin'], '*', path)
    assert.equal(headers['cross-origin-resource-policy'], 'cross-origin', path)
    assert.equal(headers['access-control-expose-headers'], 'ETag,Content-Length,Content-Range,Accept-Ranges')
  }
  for (const path of ['/', '/page.js', '/style.css']) {
    const { headers } = await ask(path, origin)
    assert.equal(headers['access-control-allow-origin'], undefined, path)
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin', path)
  }
  const preflight = await ask(
    address,
    { ...origin, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'range,if-range' },
    'OPTIONS',
  )
  assert.equal(preflight.status, 204)
  assert.match(String(preflight.headers['access-control-allow-headers']), /Range,If-Range/)
  assert.equal(preflight.headers['access-control-allow-methods'], 'GET,HEAD')
})

test("onnxruntime's files come from the bucket, sent once", async () => {
  const path = join(folder, 'run/export/preview.png')
  const { sha256, bytes } = manifest.files[1]!
  const runtime = [{ path, sha256, bytes, mediaType: 'application/wasm' }]
  const bucket = await localBucket(persistTo)
  assert.equal(await uploadRuntime(bucket, runtime), 'new')
  assert.equal(await uploadRuntime(bucket, runtime), 'unchanged')
  await bucket.close()
  const { headers } = await ask(`/files/${sha256}`)
  assert.equal(headers['content-type'], 'application/wasm')
  assert.equal(headers['cross-origin-resource-policy'], 'cross-origin')
})

test('a port in use, an impossible one and an unknown host are named', async () => {
  const { port } = new URL(server.url)
  await assert.rejects(serve({ port: Number(port) }), new RegExp(`Port ${port} .*in use.*--port`))
  await assert.rejects(serve({ host: 'no such host' }), /host "no such host"/)
  const refused = await command(['dev', '--port', '70000'])
  assert.equal(refused.status, 1)
  assert.match(refused.stderr, /--port.*70000.*65535/)
})
