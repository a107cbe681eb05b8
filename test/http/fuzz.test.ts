// Random requests never cause a 500, bytes outside the range, or a storage key that the registry does not define.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createApp } from '../../edge/server/app.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import type { Storage } from '../../edge/server/storage/storage.ts'
import { intercepted } from '../support/faults.ts'
import { fc } from '../support/properties.ts'
import { onEveryHost, request } from './hosts.ts'
import { fill, page } from './site.ts'

/**
 * All keys that may be read from a store, and all prefixes that may be listed. The only two dots in a row are those of a
 * name that ends with one: "registry/ada/shapes..json".
 */
const allowedKeys =
  /^(?!.*\.\.(?!json$))(index\/models\.tsv|files\/[0-9a-f]{64}(\.(br|gzip))?|(registry|models)\/[A-Za-z0-9][\w.-]{0,63}\/[A-Za-z0-9][\w.-]{0,63}\.json|registry\/|publishing\/[0-9a-f]{64}\.json|uploads\/[0-9a-f]{64}\/(\d{5})?|locks\/collection\.json)$/

const hostileSegments = [
  '..',
  '.',
  '',
  '%2e%2e',
  '%2f',
  '%2F..%2f',
  '%5c',
  '%00',
  '\\',
  'аda',
  'ada\u200b',
  'ﬁles',
  '%c0%ae%c0%ae',
  '%E0%A4%A',
  '%',
  '~',
  ';x=1',
  'a'.repeat(300),
  'constructor',
  '__proto__',
  'CON',
  '%0d%0aSet-Cookie:x',
  '%E2%82%AC',
  '::1',
  '*',
]
const knownSegments = [
  'api',
  'files',
  'models',
  'versions',
  'aliases',
  'latest',
  'resolve',
  'main',
  'ada',
  'shapes',
  'parts',
  '0',
  'tree',
]
const segment = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...knownSegments) },
  { weight: 2, arbitrary: fc.constantFrom(...hostileSegments) },
  fc
    .string({ unit: 'binary', maxLength: 12 })
    .map((text) => Buffer.from(text).toString('latin1'))
    .map((text) => encodeURIComponent(text)),
  fc.string({ maxLength: 12 }).map((text) => text.replace(/[\s#?]/g, '')),
)
/** Valid addresses with one random part. */
const nearlyValid = fc
  .tuple(
    fc.constantFrom(
      '/ada/shapes/resolve/…/model.onnx',
      '/ada/shapes/resolve/main/…',
      '/…/shapes/resolve/main/model.onnx',
      '/api/models/ada/…',
      '/api/models/…/shapes',
      '/api/models/ada/shapes/versions/…',
      '/api/models/ada/shapes/revision/…',
      '/api/models/ada/shapes/tree/…',
      '/api/models?after=ada/…',
      '/api/models?q=…',
      '/api/models?limit=…',
      '/files/…',
    ),
    segment,
  )
  .map(([address, part]) => address.replace('…', () => part))
const path = fc.oneof(
  fc.array(segment, { minLength: 1, maxLength: 7 }).map((segments) => `/${segments.join('/')}`),
  nearlyValid,
)
const query = fc.oneof(
  fc.constant(''),
  fc.webQueryParameters({ size: 'small' }).map((text) => `?limit=${text}&q=%`),
)

const number = fc.oneof(fc.nat(12_000), fc.constantFrom('', '-1', '99999999999999999999', '1e3', 'x'))
const range = fc.oneof(
  fc.tuple(number, number).map(([first, last]) => `bytes=${first}-${last}`),
  fc
    .array(fc.tuple(number, number), { maxLength: 4 })
    .map((parts) => `bytes=${parts.map((part) => part.join('-')).join(',')}`),
  fc.string({ maxLength: 20 }),
)
const tag = fc.constantFrom('*', '"x"', 'W/"x"', 'right', 'W/right', '', 'x', '"', '"""', ',,,')
const date = fc.oneof(
  fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') })
    .map((date) => date.toUTCString()),
  fc.string({ maxLength: 30 }),
)
const headers = fc.record(
  {
    Range: range,
    'If-Range': fc.oneof(tag, date),
    'If-Match': tag,
    'If-None-Match': tag,
    'If-Modified-Since': date,
    'If-Unmodified-Since': date,
    // No value excludes identity: wrangler's proxy would respond with 415, and the app would not receive the request.
    'Accept-Encoding': fc.constantFrom(
      'br',
      'gzip',
      '*',
      'br;q=0.5, gzip',
      'deflate',
      'identity',
      ';;,q=',
      '',
    ),
    Authorization: fc.string({ maxLength: 15 }),
  },
  { requiredKeys: [] },
)
const method = fc.constantFrom('GET', 'GET', 'GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS', 'PATCH')

/** Replaces "right" by the entity tag, and removes characters that are not allowed in a header. */
const toHeaders = (generated: Record<string, string | undefined>, etag: string) =>
  Object.fromEntries(
    Object.entries(generated).map(([name, value]) => [
      name,
      (value ?? '')
        .replace('right', etag)
        .replace(/[^\x20-\x7e]/g, '')
        .trim(),
    ]),
  )

test('ten thousand requests in this process use allowed keys only', async () => {
  const keys: string[] = []
  const watched = (storage: Storage) =>
    intercepted(storage, (run, _, key) => {
      keys.push(...key.split(' ').filter(Boolean))
      return run()
    })
  const store = memoryStorage()
  await fill(store)
  for (const publishToken of [null, 'a token of many letters']) {
    const app = createApp(() => ({
      storage: watched(store),
      assets: async (request) =>
        new Response(page, { status: new URL(request.url).pathname === '/' ? 200 : 404 }),
      publishToken,
      allow: async () => true,
      log: () => {},
    }))
    await fc.assert(
      fc.asyncProperty(path, query, headers, method, async (target, search, generated, verb) => {
        // Also with a valid token, which must not allow other keys.
        const authorization =
          publishToken === null ? {} : { Authorization: `Bearer ${publishToken}`, 'Content-Length': '0' }
        const url = URL.canParse(target + search, 'http://host') ? target + search : '/'
        const response = await app.request(`http://host${url.startsWith('/') ? '' : '/'}${url}`, {
          method: verb,
          headers: { ...toHeaders(generated, '"x"'), ...authorization },
          ...(verb === 'POST' || verb === 'PUT' ? { body: '' } : {}),
        })
        assert.ok(response.status < 500, `${verb} ${target}: ${response.status} ${await response.text()}`)
        for (const key of keys.splice(0)) assert.match(key, allowedKeys)
      }),
      { numRuns: 5000 },
    )
  }
})

test('an encoded path to a record is not found', async () => {
  const storage = memoryStorage()
  await fill(storage)
  const app = createApp(() => ({
    storage,
    assets: async () => new Response('', { status: 404 }),
    publishToken: null,
    allow: async () => true,
    log: () => {},
  }))
  assert.equal((await app.request('/files/..%2fregistry%2fada%2fshapes.json')).status, 404)
})

onEveryHost('fuzz', (running) => {
  test('any path: a response with a status below 500', async () => {
    await fc.assert(
      fc.asyncProperty(path, headers, method, async (target, generated, verb) => {
        const plain = target.replace(/[^\x21-\x7e]+/g, (text) =>
          encodeURIComponent(Buffer.from(text).toString()),
        )
        const reply = await request(running.host.url, plain, toHeaders(generated, '"x"'), verb)
        assert.ok(reply.status < 500, `${verb} ${plain}: ${reply.status} ${reply.body}`)
      }),
      { numRuns: 400 },
    )
  })

  test('any range and condition: the right bytes, or none', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('model', 'code', 'alias'), headers, async (about, generated) => {
        const { subject, content } = running.site.subjects[about as 'model']
        const sent = toHeaders(generated, subject.etag)
        const reply = await request(running.host.url, subject.path, sent)
        const contentRange = reply.headers['content-range']
        assert.ok(
          [200, 206, 304, 412, 416].includes(reply.status),
          `${reply.status} for ${JSON.stringify(sent)}`,
        )
        if (reply.status === 206) {
          const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange!)!.map(Number)
          assert.equal(size, content.length)
          assert.ok(reply.body.equals(content.subarray(first!, last! + 1)), JSON.stringify(sent))
          const requested = /^bytes=(\d*)-(\d*)$/i.exec(sent['Range']!)!
          const from = requested[1] === '' ? Math.max(0, size! - Number(requested[2])) : Number(requested[1])
          const to =
            requested[1] === '' || requested[2] === '' ? size! - 1 : Math.min(Number(requested[2]), size! - 1)
          assert.deepEqual([first, last], [from, to])
        } else if (reply.status === 200 && reply.headers['content-encoding'] === undefined) {
          assert.ok(reply.body.equals(content))
        } else if (reply.status === 304) assert.equal(reply.body.length, 0)
        else if (reply.status === 416) assert.equal(contentRange, `bytes */${content.length}`)
      }),
      { numRuns: 400 },
    )
  })
})
