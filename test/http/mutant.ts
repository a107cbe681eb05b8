// Runs the cases within this process against the app of another folder: what `npm run mutate:edge` starts for every
// mutant. Ends with 1 at the first case that fails.
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

/** As in Workers: what is said to be in a coding is compressed, unless its body is said to be compressed already. */
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
/** What is asked of the store, which costs. */
let asked: { operation: string; key: string }[] = []
/** Whether files are gone as soon as they were looked at. */
let vanishing = false
const storage = intercepted(memoryStorage(), async (run, operation, key) => {
  asked.push({ operation, key })
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

async function holds(what: string, test: () => Promise<void>): Promise<void> {
  try {
    await test()
  } catch (error) {
    console.log(`${what}: ${(error as Error).message}`)
    if (process.argv[3] !== '--all') process.exit(1)
    process.exitCode = 1
  }
}

for (const each of cases) {
  const { subject, content } = site.subjects[each.about]
  await holds(`${each.section}: ${each.name} (${each.method} ${each.about})`, async () => {
    asked = []
    const answer = await app.request(subject.path, { method: each.method, headers: each.headers(subject) })
    const reply = {
      status: answer.status,
      headers: Object.fromEntries(answer.headers),
      body: Buffer.from(await answer.arrayBuffer()),
    }
    check(each, subject, content, reply)
    if (each.method !== 'HEAD' && ![304, 412, 416].includes(reply.status)) return
    const reads = asked.filter(({ operation, key }) => operation === 'read' && key.startsWith(keys.files))
    const needless = reads.filter(({ key }) => key !== keys.file(site.version))
    assert.deepEqual(needless, [], 'what is not sent is not read')
  })
}
for (const [about, method, accept, operation] of [
  ['model', 'GET', 'gzip, br', 'read'],
  ['model', 'HEAD', 'gzip, br', 'facts'],
  ['code', 'GET', 'identity', 'read'],
] as const) {
  await holds(`a plain ${method} of the ${about} is one operation of the store`, async () => {
    const { path } = site.subjects[about].subject
    asked = []
    await app.request(path, { method, headers: { 'Accept-Encoding': accept } })
    assert.deepEqual(asked, [{ operation, key: path.slice(1) }])
  })
}
await holds('15.6.4: a file that is removed at that moment', async () => {
  vanishing = true
  const answer = await app.request(site.subjects.model.subject.path, { headers: { Range: 'bytes=0-1' } })
  assert.deepEqual([answer.status, answer.headers.get('Retry-After')], [503, '1'])
})
console.log(`${cases.length} cases`)
