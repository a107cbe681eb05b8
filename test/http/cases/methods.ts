// GET, HEAD and the methods that are not allowed: RFC 9110 sections 9 and 15.
import { immutable, type Rest, table } from './case.ts'

const { add, cases } = table()

export { cases as methods }

// --- Complete responses and their headers

const whole: Rest['answer'] = ({ size, etag, date }) => ({
  'content-length': String(size),
  'content-type': 'application/octet-stream',
  etag,
  'last-modified': date(),
  'accept-ranges': 'bytes',
  'cache-control': 'public, max-age=31536000, immutable',
  'content-range': null,
  'content-encoding': null,
})
add('15.3.1', 'GET returns the complete file', {}, 200, { body: 'whole', answer: whole })
add('9.3.2', 'HEAD returns the headers of GET, without content', {}, 200, {
  method: 'HEAD',
  body: 'none',
  answer: whole,
})
add('8.8.3', 'the entity tag is strong: the hash', {}, 200, { answer: { etag: /^"[0-9a-f]{64}"$/ } })
add('8.8.2', 'Last-Modified is an IMF-fixdate', {}, 200, {
  answer: { 'last-modified': /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/ },
})
add('RFC 8246, 2', 'the response is immutable', {}, 200, { answer: { 'cache-control': immutable } })
add('15.5.5', 'an unknown hash', {}, 404, {
  about: 'nothing',
  answer: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', etag: null },
})
add('15.5.5', 'HEAD of an unknown hash', {}, 404, { about: 'nothing', method: 'HEAD', body: 'none' })
add('RFC 9111, 5.2.2.5', 'an unknown hash with a range is not cached', { Range: 'bytes=0-1' }, 404, {
  about: 'nothing',
  answer: { 'cache-control': 'no-store', 'content-range': null },
})

add('9.3.2', 'HEAD of the page has the headers of GET', {}, 200, {
  about: 'page',
  method: 'HEAD',
  body: 'none',
  answer: {
    etag: /^(W\/)?"/,
    'content-type': /^text\/html/,
    'cache-control': 'public, max-age=0, must-revalidate',
  },
})

// --- Methods

for (const method of ['POST', 'DELETE', 'PATCH', 'PUT']) {
  add('15.5.6', `${method} is not allowed; Allow lists the methods`, {}, 405, {
    method,
    answer: { allow: /GET, HEAD|GET.*HEAD/, 'cache-control': 'no-store' },
  })
}
for (const about of ['page', 'list'] as const) {
  add('15.5.6', `POST to the ${about}`, {}, 405, {
    about,
    method: 'POST',
    answer: { allow: 'GET, HEAD, OPTIONS' },
  })
  add('9.3.2', `HEAD of the ${about}`, {}, 200, { about, method: 'HEAD', body: 'none' })
}
for (const [about, allow] of [
  ['model', 'GET, HEAD, PUT, POST, OPTIONS'],
  ['alias', 'GET, HEAD, OPTIONS'],
  ['manifest', 'GET, HEAD, DELETE, OPTIONS'],
  ['page', 'GET, HEAD, OPTIONS'],
  ['health', 'GET, HEAD, OPTIONS'],
  ['collection', 'POST, OPTIONS'],
] as const) {
  add('9.3.7', 'OPTIONS lists the allowed methods', {}, 204, {
    about,
    method: 'OPTIONS',
    body: 'none',
    answer: { allow, 'cache-control': 'no-store' },
  })
}
add('15.5.6', 'GET of a resource that allows POST only', {}, 405, {
  about: 'collection',
  answer: { allow: 'POST, OPTIONS' },
})
add('15.5.5', 'OPTIONS of an unknown resource', {}, 404, { about: 'nowhere', method: 'OPTIONS' })
