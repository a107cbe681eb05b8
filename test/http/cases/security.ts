// What other sites may read and embed, what keeps a page to itself, and what must not be believed. Sections without a
// number are those of the living standards: https://fetch.spec.whatwg.org/#http-cors-protocol and its neighbours.
import { table } from './case.ts'

const { add, cases } = table()

export { cases as security }

const origin = { Origin: 'https://a.example' }
const open = {
  'access-control-allow-origin': '*',
  'access-control-allow-credentials': null,
  'access-control-expose-headers': /ETag,Content-Length,Content-Range,Accept-Ranges/,
  'cross-origin-resource-policy': 'cross-origin',
  'cross-origin-embedder-policy': 'require-corp',
}
const closed = {
  'access-control-allow-origin': null,
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'cross-origin-opener-policy': 'same-origin',
}

for (const [about, status] of [
  ['model', 200],
  ['code', 200],
  ['version', 200],
  ['alias', 200],
  ['manifest', 200],
  ['list', 200],
  ['description', 200],
  ['nothing', 404],
  ['nowhere', 404],
  ['revision', 404],
  ['after', 400],
  ['collection', 405],
] as const) {
  add('Fetch, http-cors-protocol', 'any site may read it, and isolated pages embed it', origin, status, {
    about,
    answer: open,
  })
}
for (const [about, status] of [
  ['page', 200],
  ['health', 200],
  ['hidden', 404],
] as const) {
  add('Fetch, cross-origin-resource-policy-header', 'other sites get nothing of it', origin, status, {
    about,
    answer: closed,
  })
}
add(
  'Fetch, http-cors-protocol',
  'an unchanged file, too',
  ({ etag }) => ({ ...origin, 'If-None-Match': etag }),
  304,
  {
    answer: open,
  },
)
add('Fetch, http-cors-protocol', 'a range past the end, too', { ...origin, Range: 'bytes=10000-' }, 416, {
  answer: open,
})

const preflight = (method: string, headers = 'range,if-range') => ({
  ...origin,
  'Access-Control-Request-Method': method,
  'Access-Control-Request-Headers': headers,
})
for (const about of ['model', 'alias', 'manifest', 'list', 'nothing'] as const) {
  add('Fetch, cors-preflight-fetch', 'a preflight for a part', preflight('GET'), 204, {
    about,
    method: 'OPTIONS',
    body: 'none',
    answer: {
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'GET,HEAD',
      'access-control-allow-headers': 'Range,If-Range,If-Match,If-None-Match',
      'access-control-max-age': '86400',
    },
  })
}
add('Fetch, cors-preflight-fetch', 'no other site publishes', preflight('PUT', 'authorization'), 204, {
  method: 'OPTIONS',
  answer: {
    'access-control-allow-methods': 'GET,HEAD',
    'access-control-allow-headers': /^(?!.*authorization)/i,
  },
})
add('Fetch, cors-preflight-fetch', 'the page gives no permission', preflight('GET'), 204, {
  about: 'page',
  method: 'OPTIONS',
  answer: { 'access-control-allow-origin': null, 'access-control-allow-methods': null },
})

add('RFC 6797, 6.1', 'HTTPS alone for a year', {}, 200, {
  about: 'page',
  answer: { 'strict-transport-security': 'max-age=31536000' },
})
add('CSP3, directives', 'no inline code, no eval but of WebAssembly, nothing from elsewhere', {}, 200, {
  about: 'page',
  answer: { 'content-security-policy': /^default-src 'none';(?!.*(?<!wasm-)unsafe-)(?!.*https?:)(?!.*\*)/ },
})
add('RFC 9111, 5.2.2.2', 'the page is asked for each time', {}, 200, {
  about: 'page',
  answer: { 'cache-control': 'public, max-age=0, must-revalidate', etag: /^(W\/)?"/ },
})
for (const about of ['health', 'description', 'list'] as const) {
  add('RFC 9111, 5.2.2.5', 'nobody keeps it', {}, 200, { about, answer: { 'cache-control': 'no-store' } })
  add('9.3.2', 'HEAD', {}, 200, {
    about,
    method: 'HEAD',
    body: 'none',
    answer: { 'cache-control': 'no-store' },
  })
}
add(
  '17.15',
  'a thousand ranges cost no more than the whole',
  { Range: `bytes=${'0-,'.repeat(1000)}0-` },
  200,
  {
    body: 'whole',
  },
)
add('5.5', 'what a path says comes into no header', {}, 404, {
  about: 'revision',
  answer: { 'set-cookie': null, 'x-error-code': 'RevisionNotFound', 'x-error-message': 'Revision not found' },
})
add('15.5.1', 'a page of the list that begins nowhere', {}, 400, {
  about: 'after',
  answer: { 'cache-control': 'no-store', 'content-type': 'application/problem+json' },
  detail: /^Found an invalid query/,
})
