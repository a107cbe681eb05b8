// Cross-origin access, security headers, and malicious input. Sections without a number are those of living standards:
// https://fetch.spec.whatwg.org/#http-cors-protocol and https://www.w3.org/TR/CSP3/.
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
  add(
    'Fetch, http-cors-protocol',
    'other sites may read it, and isolated pages may embed it',
    origin,
    status,
    {
      about,
      answer: open,
    },
  )
}
for (const [about, status] of [
  ['page', 200],
  ['health', 200],
  ['hidden', 404],
] as const) {
  add('Fetch, cross-origin-resource-policy-header', 'other sites may not read it', origin, status, {
    about,
    answer: closed,
  })
}
add(
  'Fetch, http-cors-protocol',
  'other sites may read a 304',
  ({ etag }) => ({ ...origin, 'If-None-Match': etag }),
  304,
  {
    answer: open,
  },
)
add('Fetch, http-cors-protocol', 'other sites may read a 416', { ...origin, Range: 'bytes=10000-' }, 416, {
  answer: open,
})

const preflight = (method: string, headers = 'range,if-range') => ({
  ...origin,
  'Access-Control-Request-Method': method,
  'Access-Control-Request-Headers': headers,
})
for (const about of ['model', 'alias', 'manifest', 'list', 'nothing'] as const) {
  add('Fetch, cors-preflight-fetch', 'a preflight for a range', preflight('GET'), 204, {
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
add('Fetch, cors-preflight-fetch', 'other sites may not publish', preflight('PUT', 'authorization'), 204, {
  method: 'OPTIONS',
  answer: {
    'access-control-allow-methods': 'GET,HEAD',
    'access-control-allow-headers': /^(?!.*authorization)/i,
  },
})
add('Fetch, cors-preflight-fetch', 'the page allows no preflight', preflight('GET'), 204, {
  about: 'page',
  method: 'OPTIONS',
  answer: { 'access-control-allow-origin': null, 'access-control-allow-methods': null },
})

add('RFC 6797, 6.1', 'HTTPS only, for one year', {}, 200, {
  about: 'page',
  answer: { 'strict-transport-security': 'max-age=31536000' },
})
add('CSP3, directives', 'no inline code, no eval except WebAssembly, no other origins', {}, 200, {
  about: 'page',
  answer: { 'content-security-policy': /^default-src 'none';(?!.*(?<!wasm-)unsafe-)(?!.*https?:)(?!.*\*)/ },
})
for (const [about, status] of [
  ['model', 200],
  ['code', 200],
  ['version', 200],
  ['manifest', 200],
  ['list', 200],
  ['description', 200],
  ['nothing', 404],
  ['nowhere', 404],
  ['revision', 404],
] as const) {
  add('CSP3, directives', 'data runs and loads nothing, even if it is opened as a page', {}, status, {
    about,
    answer: { 'content-security-policy': "default-src 'none'; sandbox" },
  })
}
for (const path of ['dots', 'dotsFile'] as const) {
  add('15.5.5', 'a model name with two dots in a row', {}, 404, {
    about: path,
    answer: { 'cache-control': 'no-store', 'content-type': 'application/problem+json' },
  })
}
add('RFC 9111, 5.2.2.2', 'the page is revalidated on every use', {}, 200, {
  about: 'page',
  answer: { 'cache-control': 'public, max-age=0, must-revalidate', etag: /^(W\/)?"/ },
})
add('RFC 9111, 5.2.2.4', 'the description is revalidated on every use', {}, 200, {
  about: 'description',
  answer: { 'cache-control': 'private, no-cache', etag: /^W\/"/ },
})
for (const about of ['health', 'list'] as const) {
  add('RFC 9111, 5.2.2.5', 'not cached', {}, 200, { about, answer: { 'cache-control': 'no-store' } })
  add('9.3.2', 'HEAD', {}, 200, {
    about,
    method: 'HEAD',
    body: 'none',
    answer: { 'cache-control': 'no-store' },
  })
}
add('17.15', 'a thousand ranges are ignored', { Range: `bytes=${'0-,'.repeat(1000)}0-` }, 200, {
  body: 'whole',
})
add('5.5', 'no header contains text of the path', {}, 404, {
  about: 'revision',
  answer: { 'set-cookie': null, 'x-error-code': 'RevisionNotFound', 'x-error-message': 'Revision not found' },
})
add('15.5.1', 'a page of the list after an invalid name', {}, 400, {
  about: 'after',
  answer: { 'cache-control': 'no-store', 'content-type': 'application/problem+json' },
  detail: /^Invalid query/,
})
