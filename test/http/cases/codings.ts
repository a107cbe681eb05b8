// Content codings: RFC 9110 sections 8.8.3.3 and 12.5.3.
import { both, type Rest, range, type Subject, table } from './case.ts'

const { add, cases } = table()

export { cases as codings }

// --- Content codings

const identity: Rest = {
  about: 'code',
  body: 'whole',
  answer: ({ etag }) => ({ 'content-encoding': null, etag, vary: 'Accept-Encoding' }),
}
const coded = (coding: 'br' | 'gzip'): Rest => ({
  about: 'code',
  body: coding,
  answer: ({ etag }) => ({
    'content-encoding': coding,
    'content-type': 'text/x-instructions',
    etag: `${etag.slice(0, -1)}-${coding}"`,
    vary: 'Accept-Encoding',
    'cache-control': 'public, max-age=31536000, immutable',
  }),
})
for (const [accept, coding] of [
  ['br', 'br'],
  ['gzip', 'gzip'],
  ['gzip, br', 'br'],
  ['gzip, deflate, br', 'br'],
  ['br;q=0.5, gzip', 'gzip'],
  ['br; q=0.5 , gzip;q=0.4', 'br'],
  ['br;q=0.001, gzip;q=0', 'br'],
  ['br;q=1.000', 'br'],
  ['br;q=1', 'br'],
  ['*', 'br'],
  ['br;q=0, *', 'gzip'],
  ['BR', 'br'],
  ['x-gzip', 'gzip'],
  [', ,br', 'br'],
  ['identity;q=0.5, br', 'br'],
  ['identity;q=0, *;q=0.1', 'br'],
  ['br;q=0.5, identity;q=0.5', 'br'],
] as const) {
  add('12.5.3', `Accept-Encoding: ${accept}`, { 'Accept-Encoding': accept }, 200, coded(coding))
}
for (const accept of [
  'identity',
  'deflate',
  'br;q=0',
  'gzip;q=0, br;q=0',
  '*;q=0',
  'br;q=0.5, identity',
  'br;q=x, gzip;q=2',
  'br;xq=0.5',
  'br;q=0.5x',
]) {
  add('12.5.3', `Accept-Encoding: ${accept}`, { 'Accept-Encoding': accept }, 200, identity)
}
add('12.5.3', 'no Accept-Encoding', {}, 200, identity)
add('12.5.3', 'an empty Accept-Encoding', { 'Accept-Encoding': '' }, 200, identity)
add('7.7', 'proxies must not compress a compressible file', {}, 200, {
  about: 'code',
  answer: { 'cache-control': 'public, max-age=31536000, immutable, no-transform' },
})
add('12.5.5', 'a file with a single representation has no Vary', { 'Accept-Encoding': 'br' }, 200, {
  body: 'whole',
  answer: ({ size }) => ({ vary: null, 'content-encoding': null, 'content-length': String(size) }),
})
add('9.3.2', 'HEAD in a coding', { 'Accept-Encoding': 'br' }, 200, {
  about: 'code',
  method: 'HEAD',
  body: 'none',
  answer: ({ etag }) => ({
    'content-encoding': 'br',
    etag: `${etag.slice(0, -1)}-br"`,
    vary: 'Accept-Encoding',
  }),
})
const tagOf = (coding: string) => (subject: Subject) => `${subject.etag.slice(0, -1)}-${coding}"`
add(
  '8.8.3.3',
  'If-None-Match with the tag of the coding',
  (subject) => ({ 'If-None-Match': tagOf('br')(subject), 'Accept-Encoding': 'br' }),
  304,
  {
    about: 'code',
    body: 'none',
    answer: ({ etag }) => ({ etag: `${etag.slice(0, -1)}-br"`, vary: 'Accept-Encoding' }),
  },
)
add(
  '8.8.3.3',
  'If-None-Match with the tag of another coding',
  (subject) => ({ 'If-None-Match': tagOf('gzip')(subject), 'Accept-Encoding': 'br' }),
  200,
  coded('br'),
)
add(
  '8.8.3.3',
  'If-None-Match with the tag of no coding',
  ({ etag }) => ({ 'If-None-Match': etag, 'Accept-Encoding': 'gzip' }),
  200,
  coded('gzip'),
)
add(
  '8.8.3.3',
  'If-Match with the tag of another coding',
  ({ etag }) => ({ 'If-Match': etag, 'Accept-Encoding': 'br' }),
  412,
  { about: 'code', answer: { vary: 'Accept-Encoding' } },
)
const codePart: Rest = {
  about: 'code',
  body: [2, 5],
  answer: ({ etag, size }) => ({
    etag,
    'content-range': `bytes 2-5/${size}`,
    'content-encoding': null,
    vary: 'Accept-Encoding',
  }),
}
add(
  '14.2',
  'a range refers to the uncompressed bytes',
  both(range, { 'Accept-Encoding': 'br' }),
  206,
  codePart,
)
add(
  '13.1.5',
  'If-Range with the tag of a coding',
  both(range, (subject) => ({ 'If-Range': tagOf('br')(subject), 'Accept-Encoding': 'br' })),
  200,
  { about: 'code', body: 'whole' },
)
add(
  '13.1.5',
  'If-Range with the tag of no coding',
  both(range, ({ etag }) => ({ 'If-Range': etag })),
  206,
  codePart,
)
add(
  '15.5.17',
  'the length in a 416 is that of the uncompressed bytes',
  both({ Range: 'bytes=9999999-' }, { 'Accept-Encoding': 'br' }),
  416,
  {
    about: 'code',
    answer: ({ size }) => ({ 'content-range': `bytes */${size}`, vary: 'Accept-Encoding' }),
  },
)
add('14.2', 'HEAD ignores the range and uses the coding', both(range, { 'Accept-Encoding': 'br' }), 200, {
  about: 'code',
  method: 'HEAD',
  answer: { 'content-encoding': 'br' },
})
for (const about of ['script', 'wasm'] as const)
  add('12.5.3', 'a compressible file without compressed variants', {}, 200, {
    about,
    body: 'whole',
    answer: { vary: 'Accept-Encoding', 'content-encoding': null, 'cache-control': /no-transform/ },
  })
