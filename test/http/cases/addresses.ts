// Other URLs than /files/<sha256>: the file at its Hugging Face hub URL, the API and the page.
import { noneMatch, part, past, range, table } from './case.ts'

const { add, cases } = table()

export { cases as addresses }

// --- The same file at its Hugging Face hub URL

add('15.3.1', 'by version: immutable', {}, 200, {
  about: 'version',
  body: 'whole',
  answer: ({ etag }) => ({
    etag,
    'cache-control': 'public, max-age=31536000, immutable',
    'accept-ranges': 'bytes',
  }),
})
add('15.3.1', 'by alias: revalidated', {}, 200, {
  about: 'alias',
  body: 'whole',
  answer: ({ etag }) => ({ etag, 'cache-control': 'no-cache' }),
})
add('15.3.7', 'by alias: a range', range, 206, { about: 'alias', ...part(2, 5) })
add('15.4.5', 'by alias: not modified', noneMatch, 304, {
  about: 'alias',
  body: 'none',
  answer: ({ etag }) => ({ etag }),
})
add('15.5.17', 'by version: a range past the end', past, 416, {
  about: 'version',
  answer: ({ size }) => ({ 'content-range': `bytes */${size}` }),
})
add('9.3.2', 'by version: HEAD', {}, 200, {
  about: 'version',
  method: 'HEAD',
  body: 'none',
  answer: ({ size }) => ({ 'content-length': String(size), 'x-linked-size': String(size) }),
})

// --- The API

add('RFC 9111, 5.2.2.4', 'a manifest is cached by the browser only, and revalidated', {}, 200, {
  about: 'manifest',
  answer: {
    'cache-control': 'private, no-cache, no-transform',
    etag: /^"[0-9a-f]{64}"$/,
    'content-type': 'application/json',
  },
})
add('13.1.2', 'a manifest that was not modified', noneMatch, 304, {
  about: 'manifest',
  body: 'none',
  answer: ({ etag }) => ({ etag }),
})
add('13.1.2', 'a manifest with If-None-Match: *', { 'If-None-Match': '*' }, 304, {
  about: 'manifest',
  body: 'none',
})
add('13.1.2', 'a manifest that was modified', { 'If-None-Match': 'W/"x"' }, 200, { about: 'manifest' })
add('14.2', 'a manifest does not support ranges', range, 200, {
  about: 'manifest',
  answer: { 'content-range': null },
})
add('RFC 9111, 5.2.2.5', 'the list is not cached', {}, 200, {
  about: 'list',
  answer: { 'cache-control': 'no-store' },
})
add('14.2', 'the list does not support ranges', range, 200, {
  about: 'list',
  answer: { 'content-range': null },
})
add('15.3.1', 'the page', {}, 200, { about: 'page', answer: { 'content-type': /^text\/html/ } })
