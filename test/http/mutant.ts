// Runs the HTTP cases in this process against the app in another folder. `npm run mutate:edge` starts it for every
// mutant. Exits with status 1 at the first case that fails; with --all as second argument, reports all failures.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { createBrotliCompress, createGzip } from 'node:zlib'
import type { createApp } from '../../edge/server/app.ts'
import type { Host } from '../../edge/server/http/host.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import { intercepted } from '../support/faults.ts'
import { cases } from './cases/index.ts'
import { check } from './check.ts'
import { fill, page } from './site.ts'

/** Emulates Workers: compresses a body with Content-Encoding, unless `encodeBody` marks it as compressed. */
class WorkersResponse extends Response {
  constructor(body?: BodyInit | null, init: ResponseInit & { encodeBody?: 'manual' } = {}) {
    const coding = new Headers(init.headers).get('Content-Encoding')
    const plain = coding === null || init.encodeBody === 'manual' || !(body instanceof ReadableStream)
    super(plain ? body : compressed(body, coding), init)
  }
}
globalThis.Response = WorkersResponse

function compressed(body: ReadableStream, coding: string): BodyInit {
  const compress = coding === 'br' ? createBrotliCompress() : createGzip()
  return Readable.toWeb(Readable.fromWeb(body as never).pipe(compress)) as BodyInit
}

const folder = process.argv[2]!
const module = (await import(pathToFileURL(join(folder, 'app.ts')).href)) as { createApp: typeof createApp }
/** Storage operations of the current request. */
let operations: { operation: string; key: string }[] = []
/** Whether files disappear between `head` and `read`. */
let vanishing = false
const storage = intercepted(memoryStorage(), async (run, operation, key) => {
  operations.push({ operation, key })
  return vanishing && operation === 'read' && key.startsWith(keys.files) ? (null as never) : await run()
})
const site = await fill(storage)
const pageHeaders = {
  'Content-Type': 'text/html',
  'Cache-Control': 'public, max-age=0, must-revalidate',
  ETag: '"page"',
}
const host: Host = {
  storage,
  assets: async () => new Response(page, { headers: pageHeaders }),
  publishToken: null,
  allow: async () => true,
  log: () => {},
}
const app = module.createApp(() => host)

async function runCase(name: string, test: () => Promise<void>): Promise<void> {
  try {
    await test()
  } catch (error) {
    console.log(`${name}: ${(error as Error).message}`)
    if (process.argv[3] !== '--all') process.exit(1)
    process.exitCode = 1
  }
}

for (const each of cases) {
  const { subject, content } = site.subjects[each.about]
  await runCase(`${each.section}: ${each.name} (${each.method} ${each.about})`, async () => {
    operations = []
    const response = await app.request(subject.path, { method: each.method, headers: each.headers(subject) })
    const reply = {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: Buffer.from(await response.arrayBuffer()),
    }
    check(each, subject, content, reply)
    if (each.method !== 'HEAD' && ![304, 412, 416].includes(reply.status)) return
    const reads = operations.filter(
      ({ operation, key }) => operation === 'read' && key.startsWith(keys.files),
    )
    const unnecessary = reads.filter(({ key }) => key !== keys.file(site.version))
    assert.deepEqual(unnecessary, [], 'content that is not sent is not read')
  })
}
for (const [about, method, accept, operation] of [
  ['model', 'GET', 'gzip, br', 'read'],
  ['model', 'HEAD', 'gzip, br', 'head'],
  ['code', 'GET', 'identity', 'read'],
] as const) {
  await runCase(`a plain ${method} of the ${about} costs one storage operation`, async () => {
    const { path } = site.subjects[about].subject
    operations = []
    await app.request(path, { method, headers: { 'Accept-Encoding': accept } })
    assert.deepEqual(operations, [{ operation, key: path.slice(1) }])
  })
}
await runCase('15.6.4: a file that is removed during the request', async () => {
  vanishing = true
  const response = await app.request(site.subjects.model.subject.path, { headers: { Range: 'bytes=0-1' } })
  assert.deepEqual([response.status, response.headers.get('Retry-After')], [503, '1'])
})
await runCase('13.1.2: an upload with If-None-Match of a stored file', async () => {
  const publishToken = 'the correct publish token'
  const { subject, content } = site.subjects.model
  const response = await module
    .createApp(() => ({ ...host, publishToken }))
    .request(subject.path, {
      method: 'PUT',
      headers: {
        Authorization: `Bearer ${publishToken}`,
        'Content-Type': 'application/octet-stream',
        'Content-Length': String(content.length),
        'If-None-Match': subject.etag,
      },
      body: new Uint8Array(content),
    })
  assert.equal(response.status, 412)
})
console.log(`${cases.length} cases`)
