// Whatever is asked: no 500, no byte outside the range, no key that the registry does not have.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createApp } from '../../edge/server/app.ts'
import { memoryStorage } from '../../edge/server/storage/memory.ts'
import type { Storage } from '../../edge/server/storage/storage.ts'
import { intercepted } from '../support/faults.ts'
import { ask, onEveryHost } from './hosts.ts'
import { fill, page, type Site } from './site.ts'

/** Every key that may be asked of a store, and every prefix that may be listed. */
const allowed =
  /^(files\/[0-9a-f]{64}(\.(br|gzip))?|(registry|models)\/[A-Za-z0-9][\w.-]{0,63}\/[A-Za-z0-9][\w.-]{0,63}\.json|registry\/|publishing\/[0-9a-f]{64}\.json|uploads\/[0-9a-f]{64}\/(\d{5})?|locks\/collection\.json)$/

const nasty = [
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
const wellKnown = [
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
  { weight: 3, arbitrary: fc.constantFrom(...wellKnown) },
  { weight: 2, arbitrary: fc.constantFrom(...nasty) },
  fc
    .string({ unit: 'binary', maxLength: 12 })
    .map((text) => Buffer.from(text).toString('latin1'))
    .map((text) => encodeURIComponent(text)),
  fc.string({ maxLength: 12 }).map((text) => text.replace(/[\s#?]/g, '')),
)
/** Addresses that are right but for one part. */
const nearly = fc
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
  nearly,
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
    .map((found) => found.toUTCString()),
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
    // None that rules the bytes themselves out: wrangler's front answers that with 415 before the app is asked.
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

/** Only what may stand in a header. */
const tidy = (given: Record<string, string | undefined>, etag: string) =>
  Object.fromEntries(
    Object.entries(given).map(([name, value]) => [
      name,
      (value ?? '')
        .replace('right', etag)
        .replace(/[^\x20-\x7e]/g, '')
        .trim(),
    ]),
  )

test('within this process, ten thousand requests: no key outside the list', async () => {
  const keys: string[] = []
  const watched = (storage: Storage) =>
    intercepted(storage, (run, _, key) => {
      keys.push(...key.split(' ').filter(Boolean))
      return run()
    })
  const store = memoryStorage()
  const site = await fill(store)
  for (const publishToken of [null, 'secret']) {
    const app = createApp(() => ({
      storage: watched(store),
      assets: async (request) =>
        new Response(page, { status: new URL(request.url).pathname === '/' ? 200 : 404 }),
      publishToken,
      allow: async () => true,
      log: () => {},
    }))
    await fc.assert(
      fc.asyncProperty(path, query, headers, method, async (target, search, given, verb) => {
        // As by someone who has the token, too, who must not get further.
        const known = publishToken === null ? {} : { Authorization: 'Bearer secret', 'Content-Length': '0' }
        const url = URL.canParse(target + search, 'http://host') ? target + search : '/'
        const answer = await app.request(`http://host${url.startsWith('/') ? '' : '/'}${url}`, {
          method: verb,
          headers: { ...tidy(given, '"x"'), ...known },
          ...(verb === 'POST' || verb === 'PUT' ? { body: '' } : {}),
        })
        assert.ok(answer.status < 500, `${verb} ${target}: ${answer.status} ${await answer.text()}`)
        for (const key of keys.splice(0)) assert.match(key, allowed)
      }),
      { numRuns: 5000 },
    )
  }
  assert.equal((await app404(site)).status, 404)

  function app404(_: Site) {
    return createApp(() => ({
      storage: store,
      assets: async () => new Response('', { status: 404 }),
      publishToken: null,
      allow: async () => true,
      log: () => {},
    })).request('/files/..%2fregistry%2fada%2fshapes.json')
  }
})

onEveryHost('fuzz', (running) => {
  test('any path: an answer, below 500, and of nothing but what is published', async () => {
    await fc.assert(
      fc.asyncProperty(path, headers, method, async (target, given, verb) => {
        const plain = target.replace(/[^\x21-\x7e]+/g, (text) =>
          encodeURIComponent(Buffer.from(text).toString()),
        )
        const reply = await ask(running.host.url, plain, tidy(given, '"x"'), verb)
        assert.ok(reply.status < 500, `${verb} ${plain}: ${reply.status} ${reply.body}`)
      }),
      { numRuns: 400 },
    )
  })

  test('any range and condition: the right bytes, or none', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('model', 'code', 'alias'), headers, async (about, given) => {
        const { subject, content } = running.site.subjects[about as 'model']
        const sent = tidy(given, subject.etag)
        const reply = await ask(running.host.url, subject.path, sent)
        const found = reply.headers['content-range']
        assert.ok(
          [200, 206, 304, 412, 416].includes(reply.status),
          `${reply.status} for ${JSON.stringify(sent)}`,
        )
        if (reply.status === 206) {
          const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(found!)!.map(Number)
          assert.equal(size, content.length)
          assert.ok(reply.body.equals(content.subarray(first!, last! + 1)), JSON.stringify(sent))
          const asked = /^bytes=(\d*)-(\d*)$/i.exec(sent['Range']!)!
          const from = asked[1] === '' ? Math.max(0, size! - Number(asked[2])) : Number(asked[1])
          const to = asked[1] === '' || asked[2] === '' ? size! - 1 : Math.min(Number(asked[2]), size! - 1)
          assert.deepEqual([first, last], [from, to])
        } else if (reply.status === 200 && reply.headers['content-encoding'] === undefined) {
          assert.ok(reply.body.equals(content))
        } else if (reply.status === 304) assert.equal(reply.body.length, 0)
        else if (reply.status === 416) assert.equal(found, `bytes */${content.length}`)
      }),
      { numRuns: 400 },
    )
  })
})
