// The complete server side: `npm run publish`, and the Worker in workerd, over HTTP.
import assert from 'node:assert/strict'
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { formatManifest, type Manifest } from '@ddpm/shared'
import { openLocalBucket } from '../../edge/commands/hosting/local-bucket.ts'
import { storageTarget, uploadRuntimeFiles } from '../../edge/commands/hosting/runtime-files.ts'
import { type RunningServer, serveOnWorkerd } from '../../edge/commands/hosting/workerd.ts'
import { unpublish } from '../../edge/server/registry/models.ts'
import { sha256OfText } from '../../edge/server/registry/publishing.ts'
import { command } from '../support/command.ts'
import { writeExported } from '../support/exported.ts'
import type { Reply } from './check.ts'
import { request as requestFrom } from './hosts.ts'

const assets: Record<string, string> = {
  'index.html': '<!doctype html><title>page</title>',
  'page.js': 'export {}',
  'sampler.js': 'export const load = 1',
  'worker-wasm.js': 'postMessage(1)',
  'style.css': 'body { color: black }',
}

let folder: string
let persistTo: string
let server: RunningServer
let manifest: Manifest
/** Content of the published model, and its path on the server. */
let model: Buffer
let modelPath: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ddpm-workerd-'))
  persistTo = join(folder, 'state')
  const publicFolder = join(folder, 'public')
  await mkdir(publicFolder)
  for (const [name, text] of Object.entries(assets)) await writeFile(join(publicFolder, name), text)
  server = await serveOnWorkerd({ port: 0, persistTo, publicFolder, quiet: true })
  const exported = await writeExported(join(folder, 'run/export'), 'ada/shapes', {
    graph: 700_001,
    preview: 999,
  })
  manifest = exported.manifest
  model = exported.contents[0]!
  modelPath = `/files/${manifest.files[0]!.sha256}`
})

after(async () => {
  await server?.stop()
  await rm(folder, { recursive: true, force: true })
})

const request = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  requestFrom(server.url, path, headers, method)

/** Asserts that a response is a problem (RFC 9457) with this status and not cached. Returns its detail. */
function assertProblem(reply: Reply, status: number): string {
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

test('an empty bucket has no models; the error explains how to publish one', async () => {
  const list = await request('/api/models')
  assert.deepEqual(json(list), { models: [], next: null })
  assert.equal(list.headers['cache-control'], 'no-store')
  assert.match(
    assertProblem(await request('/api/models/ada/shapes'), 404),
    /Unknown model "ada\/shapes".*npm run publish/,
  )
})

test('publish rejects an invalid export and stores nothing', async () => {
  const damaged = join(folder, 'damaged')
  const { manifest } = await writeExported(damaged, 'ada/damaged', { graph: 5000, preview: 50 })
  const [graph, preview] = manifest.files
  await writeFile(join(damaged, 'preview.png'), Buffer.alloc(50))
  const wrongHash = await publish(damaged)
  assert.equal(wrongHash.status, 1)
  assert.match(
    wrongHash.stderr,
    new RegExp(`damaged/preview.png: expected the SHA-256 ${preview!.sha256}.*got [0-9a-f]{64}`),
  )
  assert.match(wrongHash.stderr, /Export the model again/)

  await appendFile(join(damaged, 'model.onnx'), '!')
  assert.match((await publish(damaged)).stderr, /model.onnx: expected 5000 bytes \(manifest\), got 5001/)
  await rm(join(damaged, 'model.onnx'))
  assert.match((await publish(damaged)).stderr, /Missing file .*model.onnx/)
  assert.match((await publish(damaged, '--name', 'nobody')).stderr, /expected owner\/name/)
  await writeFile(join(damaged, 'manifest.json'), '{"version": 1}')
  assert.match((await publish(damaged)).stderr, /Invalid manifest[\s\S]*licence/)

  await mkdir(join(folder, 'trained'))
  assert.match((await publish(join(folder, 'trained'))).stderr, /npm run export -- .*trained/)
  const absent = await publish(join(folder, 'absent'))
  assert.match(
    absent.stderr,
    /^Cannot find the folder ".*absent": expected [^\n]*\n$/,
    'one line, no stack trace',
  )

  assert.deepEqual(json(await request('/api/models')), { models: [], next: null })
  for (const { sha256 } of [graph!, preview!]) assertProblem(await request(`/files/${sha256}`), 404)
})

test('a bucket that cannot be written is an error with its path', async () => {
  const file = join(folder, 'run/export/model.onnx')
  await assert.rejects(openLocalBucket(file), /Cannot write the local bucket to ".*model.onnx".*--persist-to/)
})

test('publish while the server runs: a new model, unchanged, changed, and under another name', async () => {
  const run = join(folder, 'run')
  const version = sha256OfText(formatManifest(manifest))
  const dry = await publish(run, '--dry-run')
  assert.match(
    dry.stdout,
    /^Would publish ada\/shapes locally, version [0-9a-f]{12}:\n {2}to send {2}0.7 MB {2}\S+model.onnx\n/,
  )
  assertProblem(await request('/api/models/ada/shapes'), 404)

  const first = await publish(run)
  const stdout = `Published ada/shapes locally, version ${version.slice(0, 12)}.\n`
  assert.deepEqual(first, { status: 0, stdout, stderr: '' })
  const stored = await request('/api/models/ada/shapes')
  assert.equal(stored.body.toString(), formatManifest(manifest))
  assert.equal(stored.headers['x-version'], version)
  const file = await request(modelPath)
  assert.ok(file.body.equals(model))

  for (const args of [[join(run, 'export')], [run, '--dry-run']]) {
    assert.equal(
      (await publish(...args)).stdout,
      'ada/shapes is already published locally; nothing changed.\n',
    )
  }
  const updated = await publish(run, '--description', 'Figures.', '--licence', 'MIT')
  assert.match(updated.stdout, /^Updated ada\/shapes/, updated.stderr)
  const changed = await request('/api/models/ada/shapes')
  assert.notEqual(changed.headers['etag'], stored.headers['etag'])
  assert.match(
    (await publish(run, '--name', 'bob/figures', '--alias', 'stable')).stdout,
    /^Published bob\/figures/,
  )

  const { name, shape, classes, licence, training, description, files } = manifest
  const summary = { name, description, shape, classes, licence, training, preview: files[1]!.sha256 }
  const { models } = json(await request('/api/models'))
  assert.deepEqual(
    models.map(({ version, published, ...known }: Record<string, unknown>) => known),
    [
      { ...summary, description: 'Figures.', licence: 'MIT' },
      { ...summary, name: 'bob/figures' },
    ],
  )
  const detail = assertProblem(await request('/api/models/ada/shape'), 404)
  assert.equal(detail, 'Unknown model "ada/shape". Published models: ada/shapes, bob/figures.')
})

test('rollback and gc of the local registry', async () => {
  const version = sha256OfText(formatManifest(manifest))
  const back = await publish('rollback', 'ada/shapes')
  assert.equal(
    back.stdout,
    `Rolled back ada/shapes locally: the latest version is ${version.slice(0, 12)}.\n`,
    back.stderr,
  )
  assert.equal((await request('/api/models/ada/shapes')).headers['x-version'], version)
  const bucket = await openLocalBucket(persistTo)
  await unpublish(bucket.storage, 'bob/figures')
  await bucket.close()
  assertProblem(await request('/api/models/bob/figures'), 404)
  const collected = await publish('gc', '--keep-days', '0')
  assert.match(
    collected.stdout,
    /^[0-9a-f]{64} {2}0.0 MB\nRemoved 1 file \(0\.0 MB\) locally\. Remaining files: \d+\.\n$/,
  )
  assert.ok((await request(modelPath)).body.equals(model), 'the other model references it')
})

test('unknown paths, and paths that try to escape', async () => {
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
    '/api/models/ada/shapes/versions/nothing',
    `/files/${sha256}.br`,
    '/ada/shapes/resolve/main/..%2f..%2fsecret',
    '/ada/shapes/resolve/main/nothing',
    '/ada/shapes/resolve/nothing/model.onnx',
    '/..%2fregistry/x/resolve/main/model.onnx',
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
    const detail = assertProblem(await request(path), 404)
    assert.ok(detail.length > 10, path)
  }
})

test('other methods are rejected; the error names them', async () => {
  for (const path of ['/', '/sampler.js', '/api/models', '/api/models/ada/shapes', modelPath]) {
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const reply = await request(path, {}, method)
      assert.match(assertProblem(reply, 405), new RegExp(method))
      assert.match(reply.headers['allow']!, /GET.*HEAD/, path)
    }
  }
})

test('the page and its files have the headers for isolation, which WebAssembly threads require', async () => {
  for (const [name, text] of Object.entries(assets)) {
    const { status, headers, body } = await request(name === 'index.html' ? '/' : `/${name}`)
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
  const again = await request('/', { 'If-None-Match': (await request('/')).headers.etag! })
  assert.equal(again.status, 304)
  assert.deepEqual(
    [(await request('/index.html')).status, (await request('/index.html')).headers.location],
    [307, '/'],
  )
})

test('HEAD of a file of the page has the headers of GET', async () => {
  for (const path of ['/', '/sampler.js', '/style.css']) {
    for (const coding of ['gzip', 'identity']) {
      const [get, head] = await Promise.all(
        ['GET', 'HEAD'].map((method) => request(path, { 'Accept-Encoding': coding }, method)),
      )
      // RFC 9110, section 9.3.2: fields that are determined while the content is generated may be missing. The asset
      // server does not report the length, which workerd adds when it sends the content.
      const generated = ['date', 'x-request-id', 'transfer-encoding', 'content-length']
      for (const [name, value] of Object.entries(get!.headers)) {
        if (generated.includes(name)) continue
        assert.equal(head!.headers[name], value, `${name} of ${path}, ${coding}`)
      }
      assert.deepEqual([head!.status, head!.body.length], [200, 0])
    }
  }
})

test('other sites may read models and the sampler, but not the page', async () => {
  const origin = { Origin: 'https://elsewhere.example' }
  for (const path of ['/sampler.js', '/worker-wasm.js', '/api/models', '/api/models/ada/none', modelPath]) {
    const { headers } = await request(path, origin)
    assert.equal(headers['access-control-allow-origin'], '*', path)
    assert.equal(headers['cross-origin-resource-policy'], 'cross-origin', path)
    assert.match(
      headers['access-control-expose-headers']!,
      /^ETag,Content-Length,Content-Range,Accept-Ranges/,
    )
  }
  for (const path of ['/', '/page.js', '/style.css']) {
    const { headers } = await request(path, origin)
    assert.equal(headers['access-control-allow-origin'], undefined, path)
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin', path)
  }
  const preflight = await request(
    modelPath,
    { ...origin, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'range,if-range' },
    'OPTIONS',
  )
  assert.equal(preflight.status, 204)
  assert.match(String(preflight.headers['access-control-allow-headers']), /Range,If-Range/)
  assert.equal(preflight.headers['access-control-allow-methods'], 'GET,HEAD')
})

test("onnxruntime's files are uploaded to the bucket once and served unchanged in every coding", async () => {
  const content = Buffer.from('wasm '.repeat(5000))
  const path = join(folder, 'run/runtime.wasm')
  await writeFile(path, content)
  const sha256 = sha256OfText(content.toString())
  const runtime = [{ path, sha256, bytes: content.length, mediaType: 'application/wasm' }]
  const bucket = await openLocalBucket(persistTo)
  assert.equal(await uploadRuntimeFiles(storageTarget(bucket.storage), runtime), 1)
  assert.equal(await uploadRuntimeFiles(storageTarget(bucket.storage), runtime), 0)
  await bucket.close()
  for (const [coding, decode] of [
    ['br', brotliDecompressSync],
    ['gzip', gunzipSync],
    ['identity', (bytes: Buffer) => bytes],
  ] as const) {
    const { headers, body } = await request(`/files/${sha256}`, { 'Accept-Encoding': coding })
    assert.equal(headers['content-encoding'] ?? 'identity', coding)
    assert.equal(headers['content-length'], String(body.length))
    assert.equal(headers['content-type'], 'application/wasm')
    assert.equal(headers['cross-origin-resource-policy'], 'cross-origin')
    assert.ok(decode(body).equals(content), coding)
  }
})

test('the health check responds', async () => {
  const { status, headers, body } = await request('/healthz')
  assert.deepEqual(
    [status, JSON.parse(body.toString()).status, headers['cache-control']],
    [200, 'ok', 'no-store'],
  )
})

test('requests above the rate limit get a 429; the limit for reads is higher than for listings', async () => {
  const publicFolder = join(folder, 'public')
  const limited = await serveOnWorkerd({
    port: 0,
    persistTo,
    publicFolder,
    quiet: true,
    environment: 'staging',
  })
  try {
    // In parallel: on a slow machine, sequential requests would take longer than the minute.
    const replies = await Promise.all(
      Array.from({ length: 125 }, () => requestFrom(limited.url, '/api/models')),
    )
    assert.equal(replies.filter(({ status }) => status === 200).length, 120)
    const refused = await requestFrom(limited.url, '/api/models')
    assert.match(assertProblem(refused, 429), /Wait a minute/)
    assert.equal(refused.headers['retry-after'], '60')
    assert.equal(
      (await requestFrom(limited.url, modelPath)).status,
      404,
      'staging has another bucket, and reads are still allowed',
    )
  } finally {
    await limited.stop()
  }
})

test('a port in use, an invalid port and an unknown host are errors that name them', async () => {
  const { port } = new URL(server.url)
  await assert.rejects(serveOnWorkerd({ port: Number(port) }), new RegExp(`Port ${port} .*in use.*--port`))
  await assert.rejects(serveOnWorkerd({ host: 'no such host' }), /host "no such host"/)
  const refused = await command(['dev', '--port', '70000'])
  assert.equal(refused.status, 1)
  assert.match(refused.stderr, /--port.*70000.*65535/)
})
