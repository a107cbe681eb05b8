// What HTTP asks of a server of files, case by case, each with the section of RFC 9110 (or of the document named) that
// it comes from. `check.ts` holds a reply to a case; every host runs them all.

/** A published file as the cases know it. */
export interface Subject {
  readonly path: string
  readonly size: number
  /** With quotes. */
  readonly etag: string
  /** Last-Modified, moved by so many seconds, as an HTTP date. */
  date(seconds?: number): string
}

/**
 * What a case asks about: a model of 10,000 random bytes; `code`, which exists compressed; `script`, which could be
 * compressed and is not; an empty file; the model by its hub address, of a version and of an alias; the manifest in the API; the page.
 */
export type About =
  | 'model'
  | 'code'
  | 'script'
  | 'empty'
  | 'version'
  | 'alias'
  | 'manifest'
  | 'list'
  | 'page'
  | 'nothing'

export interface Case {
  readonly section: string
  readonly name: string
  readonly about: About
  readonly method: string
  readonly headers: (subject: Subject) => Record<string, string>
  readonly status: number
  /** Headers of the answer: equal, matching, or absent (null). */
  readonly answer: (subject: Subject) => Record<string, string | RegExp | null>
  /** First and last position, the whole, the whole in a coding, or nothing; anything where it is not said. */
  readonly body?: readonly [number, number] | 'whole' | 'br' | 'gzip' | 'none'
}

type Headers = Case['headers'] | Record<string, string>
type Answer = Case['answer'] | Record<string, string | RegExp | null>

const all: Case[] = []
export const cases: readonly Case[] = all

interface Rest {
  about?: About
  method?: string
  answer?: Answer
  body?: Case['body']
}

function add(section: string, name: string, headers: Headers, status: number, rest: Rest = {}): void {
  const { about = 'model', method = 'GET', answer = {}, body } = rest
  all.push({
    section,
    name,
    about,
    method,
    headers: typeof headers === 'function' ? headers : () => headers,
    status,
    answer: typeof answer === 'function' ? answer : () => answer,
    ...(body !== undefined && { body }),
  })
}

const immutable = /^public, max-age=31536000, immutable/

// --- The whole, and what is said of it

add('15.3.1', 'GET answers the whole', {}, 200, {
  body: 'whole',
  answer: ({ size, etag, date }) => ({
    'content-length': String(size),
    'content-type': 'application/octet-stream',
    etag,
    'last-modified': date(),
    'accept-ranges': 'bytes',
    'cache-control': 'public, max-age=31536000, immutable',
    'content-range': null,
    'content-encoding': null,
  }),
})
add('9.3.2', 'HEAD answers as GET, without content', {}, 200, {
  method: 'HEAD',
  body: 'none',
  answer: ({ size, etag, date }) => ({
    'content-length': String(size),
    'content-type': 'application/octet-stream',
    etag,
    'last-modified': date(),
    'accept-ranges': 'bytes',
    'cache-control': 'public, max-age=31536000, immutable',
  }),
})
add('8.8.3', 'the entity tag is strong and is the hash', {}, 200, { answer: { etag: /^"[0-9a-f]{64}"$/ } })
add('8.8.2', 'Last-Modified is an IMF-fixdate', {}, 200, {
  answer: { 'last-modified': /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/ },
})
add('RFC 8246, 2', 'the answer never changes', {}, 200, { answer: { 'cache-control': immutable } })
add('15.5.5', 'an unknown hash is not found', {}, 404, {
  about: 'nothing',
  answer: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', etag: null },
})
add('15.5.5', 'HEAD of an unknown hash', {}, 404, { about: 'nothing', method: 'HEAD', body: 'none' })
add('RFC 9111, 5.2.2.5', 'an unknown hash with a range is not kept either', { Range: 'bytes=0-1' }, 404, {
  about: 'nothing',
  answer: { 'cache-control': 'no-store', 'content-range': null },
})

// --- Methods

for (const method of ['POST', 'DELETE', 'PATCH', 'PUT']) {
  add('15.5.6', `${method} is not allowed, and what is`, {}, 405, {
    method,
    answer: { allow: /GET, HEAD|GET.*HEAD/, 'cache-control': 'no-store' },
  })
}
for (const about of ['page', 'list'] as const) {
  add('15.5.6', `POST to the ${about}`, {}, 405, { about, method: 'POST', answer: { allow: 'GET, HEAD' } })
  add('9.3.2', `HEAD of the ${about}`, {}, 200, { about, method: 'HEAD', body: 'none' })
}
add(
  '9.3.7',
  'OPTIONS as a preflight',
  { Origin: 'https://a.example', 'Access-Control-Request-Method': 'GET' },
  204,
  {
    method: 'OPTIONS',
    answer: { 'access-control-allow-origin': '*', 'access-control-allow-methods': 'GET,HEAD' },
  },
)

// --- Ranges that are met

const part = (first: number, last: number): Pick<Rest, 'answer' | 'body'> => ({
  body: [first, last],
  answer: ({ size, etag, date }) => ({
    'content-range': `bytes ${first}-${last}/${size}`,
    'content-length': String(last - first + 1),
    'content-type': 'application/octet-stream',
    etag,
    'last-modified': date(),
    'accept-ranges': 'bytes',
  }),
})

for (const [range, first, last] of [
  ['bytes=0-499', 0, 499],
  ['bytes=500-999', 500, 999],
  ['bytes=-500', 9500, 9999],
  ['bytes=9500-', 9500, 9999],
  ['bytes=0-0', 0, 0],
  ['bytes=9999-9999', 9999, 9999],
  ['bytes=9999-', 9999, 9999],
  ['bytes=-1', 9999, 9999],
  ['bytes=5-5', 5, 5],
  ['bytes=0-', 0, 9999],
  ['bytes=0-9999', 0, 9999],
  ['bytes=0-9998', 0, 9998],
  ['bytes=0-10000', 0, 9999],
  ['bytes=9998-20000', 9998, 9999],
  ['bytes=0-99999999999999999999999', 0, 9999],
  ['bytes=-9999', 1, 9999],
  ['bytes=-10000', 0, 9999],
  ['bytes=-10001', 0, 9999],
  ['bytes=-99999999999999999999999', 0, 9999],
  ['bytes=00-01', 0, 1],
] as const) {
  add('14.1.2', `Range: ${range}`, { Range: range }, 206, part(first, last))
}
add('14.1', 'the unit knows no case', { Range: 'BYTES=1-2' }, 206, part(1, 2))
add('15.3.7', 'a part may be kept, and not be compressed on its way', { Range: 'bytes=0-9' }, 206, {
  answer: { 'cache-control': /immutable.*no-transform/ },
})
add('14.2', 'HEAD knows no Range', { Range: 'bytes=0-9' }, 200, {
  method: 'HEAD',
  body: 'none',
  answer: ({ size }) => ({ 'content-length': String(size), 'content-range': null }),
})
add('14.2', 'HEAD with a range past the end', { Range: 'bytes=10000-' }, 200, {
  method: 'HEAD',
  body: 'none',
})

// --- Ranges that cannot be met

for (const range of [
  'bytes=10000-',
  'bytes=10000-10001',
  'bytes=-0',
  'bytes=99999999999999999999-',
  'bytes=12345-',
]) {
  add('15.5.17', `Range: ${range}`, { Range: range }, 416, {
    answer: ({ size }) => ({
      'content-range': `bytes */${size}`,
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      etag: null,
    }),
  })
}

// --- A file of no bytes

add('15.3.1', 'nothing is a whole, too', {}, 200, {
  about: 'empty',
  body: 'none',
  answer: { 'content-length': '0' },
})
for (const range of ['bytes=0-', 'bytes=0-0', 'bytes=-0']) {
  add('15.5.17', `Range: ${range} of nothing`, { Range: range }, 416, {
    about: 'empty',
    answer: { 'content-range': 'bytes */0' },
  })
}
add('14.1.2', 'the end of nothing is nothing', { Range: 'bytes=-1' }, 200, { about: 'empty', body: 'none' })

// --- What is no single range of bytes is ignored

for (const range of [
  'bytes=5-2',
  'bytes=1-0',
  'bytes=-',
  'bytes=',
  'bytes',
  'bytes=a-b',
  'bytes=1-b',
  'bytes=1.5-2',
  'bytes=0x1-2',
  'bytes=--5',
  'bytes=+1-2',
  'bytes=1-2-3',
  'bytes= 1-2',
  'bytes=1 -2',
  'bytes=1-2 3',
  'bytes 0-5',
  'bytes:0-5',
  'xbytes=0-5',
  'bytes=0-5x',
  'lines=0-1',
  'none=0-1',
  '=0-1',
]) {
  add('14.2', `Range: ${range}`, { Range: range }, 200, { body: 'whole', answer: { 'content-range': null } })
}
for (const range of ['bytes=0-1,4-5', 'bytes=0-0,-1', 'bytes=0-1, 20000-', 'bytes=0-0,', 'bytes=,0-0']) {
  add('14.2', `several ranges, ${range}, as the whole`, { Range: range }, 200, {
    body: 'whole',
    answer: ({ size }) => ({ 'content-range': null, 'content-length': String(size) }),
  })
}

// --- If-Match

const failed = {
  answer: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', 'content-range': null },
}
add('13.1.1', 'If-Match with the tag', ({ etag }) => ({ 'If-Match': etag }), 200, { body: 'whole' })
add('13.1.1', 'If-Match with the tag in a list', ({ etag }) => ({ 'If-Match': `"x", ${etag} , "y"` }), 200)
add('13.1.1', 'If-Match with any', { 'If-Match': '*' }, 200)
add('13.1.1', 'If-Match with another', { 'If-Match': '"x"' }, 412, failed)
add('13.1.1', 'If-Match compares strongly', ({ etag }) => ({ 'If-Match': `W/${etag}` }), 412, failed)
add('13.1.1', 'If-Match with no tag at all', { 'If-Match': 'x' }, 412, failed)
add('8.8.3', 'If-Match without quotes', ({ etag }) => ({ 'If-Match': etag.slice(1, -1) }), 412, failed)
add('13.1.1', 'If-Match of nothing that is there', { 'If-Match': '*' }, 404, { about: 'nothing' })
add(
  '8.8.3',
  'a comma within a tag separates nothing',
  ({ etag }) => ({ 'If-Match': `"x,${etag.slice(1)}` }),
  412,
)
add('9.3.2', 'If-Match with HEAD', { 'If-Match': '"x"' }, 412, { method: 'HEAD', body: 'none' })

// --- If-None-Match

const unchanged: Rest = {
  body: 'none',
  answer: ({ etag, date }) => ({
    etag,
    'cache-control': immutable,
    'last-modified': date(),
    'content-type': null,
    'content-range': null,
  }),
}
add('13.1.2', 'If-None-Match with the tag', ({ etag }) => ({ 'If-None-Match': etag }), 304, unchanged)
add(
  '13.1.2',
  'If-None-Match compares weakly',
  ({ etag }) => ({ 'If-None-Match': `W/${etag}` }),
  304,
  unchanged,
)
add(
  '13.1.2',
  'If-None-Match in a list',
  ({ etag }) => ({ 'If-None-Match': `"x",W/"y",${etag}` }),
  304,
  unchanged,
)
add('13.1.2', 'If-None-Match with any', { 'If-None-Match': '*' }, 304, unchanged)
add('13.1.2', 'If-None-Match with any, in space', { 'If-None-Match': ' * ' }, 304, unchanged)
add('13.1.2', 'If-None-Match with another', { 'If-None-Match': '"x"' }, 200, { body: 'whole' })
add('13.1.2', 'If-None-Match with another, weak', { 'If-None-Match': 'W/"x"' }, 200, { body: 'whole' })
add('13.1.2', 'If-None-Match without quotes', ({ etag }) => ({ 'If-None-Match': etag.slice(1, -1) }), 200)
add('13.1.2', 'If-None-Match with HEAD', ({ etag }) => ({ 'If-None-Match': etag }), 304, {
  method: 'HEAD',
  body: 'none',
})
add('13.1.2', 'If-None-Match of nothing that is there', { 'If-None-Match': '*' }, 404, { about: 'nothing' })

// --- Dates

add('13.1.3', 'If-Modified-Since then', ({ date }) => ({ 'If-Modified-Since': date() }), 304, unchanged)
add('13.1.3', 'If-Modified-Since later', ({ date }) => ({ 'If-Modified-Since': date(60) }), 304, unchanged)
add('13.1.3', 'If-Modified-Since a second before', ({ date }) => ({ 'If-Modified-Since': date(-1) }), 200)
add('13.1.3', 'If-Modified-Since with HEAD', ({ date }) => ({ 'If-Modified-Since': date() }), 304, {
  method: 'HEAD',
  body: 'none',
})
add('13.1.4', 'If-Unmodified-Since then', ({ date }) => ({ 'If-Unmodified-Since': date() }), 200, {
  body: 'whole',
})
add('13.1.4', 'If-Unmodified-Since later', ({ date }) => ({ 'If-Unmodified-Since': date(60) }), 200)
add('13.1.4', 'If-Unmodified-Since before', ({ date }) => ({ 'If-Unmodified-Since': date(-1) }), 412, failed)
add('13.1.4', 'If-Unmodified-Since with HEAD', ({ date }) => ({ 'If-Unmodified-Since': date(-1) }), 412, {
  method: 'HEAD',
})

/** The obsolete forms that recipients still have to read, of a date far ahead. */
const later850 = 'Sunday, 06-Nov-50 08:49:37 GMT'
const laterAsctime = 'Sun Nov  6 08:49:37 2050'
const earlier850 = 'Sunday, 06-Nov-94 08:49:37 GMT'
/** A year of two digits is read as one at most 50 years ahead. */
const inYears = (years: number) => String((new Date().getUTCFullYear() + years) % 100).padStart(2, '0')
const earlierAsctime = 'Sun Nov  6 08:49:37 1994'
add('5.6.7', 'a later date as in RFC 850', { 'If-Modified-Since': later850 }, 304, unchanged)
add('5.6.7', 'a later date as asctime writes it', { 'If-Modified-Since': laterAsctime }, 304, unchanged)
add('5.6.7', 'an earlier date as in RFC 850', { 'If-Modified-Since': earlier850 }, 200)
add('5.6.7', 'an earlier date as in RFC 850, for 412', { 'If-Unmodified-Since': earlier850 }, 412)
add('5.6.7', 'an earlier date as asctime writes it', { 'If-Unmodified-Since': earlierAsctime }, 412)
add(
  '5.6.7',
  'fifty years ahead',
  { 'If-Modified-Since': `Sunday, 06-Nov-${inYears(50)} 08:49:37 GMT` },
  304,
  unchanged,
)
add(
  '5.6.7',
  'what seems more than fifty is past',
  { 'If-Modified-Since': `Sunday, 06-Nov-${inYears(51)} 08:49:37 GMT` },
  200,
)
for (const text of [
  'yesterday',
  '2050-11-06T08:49:37Z',
  '2050-11-06',
  '0',
  'Sun, 6 Nov 2050 08:49:37 GMT',
  'Sun, 06 Nov 2050 08:49:37',
  'Sun, 06 Nov 2050 08:49:37 PST',
  'Sun, 06 nov 2050 08:49:37 GMT',
  'Xun, 06 Nov 2050 08:49:37 GMT',
  'Sun, 31 Jun 2050 08:49:37 GMT',
  'x Sun, 06 Nov 2050 08:49:37 GMT',
  'x Sunday, 06-Nov-50 08:49:37 GMT',
  'x Sun Nov  6 08:49:37 2050',
]) {
  add('13.1.3', `"${text}" is no date and ignored`, { 'If-Modified-Since': text }, 200, { body: 'whole' })
}
for (const text of ['yesterday', '1994-11-06T08:49:37Z', 'Sun, 06 Nov 94 08:49:37 GMT']) {
  add('13.1.4', `"${text}" is no date and ignored`, { 'If-Unmodified-Since': text }, 200, { body: 'whole' })
}

// --- Which comes first

const both = (one: Headers, other: Headers): Case['headers'] => {
  const of = (headers: Headers, subject: Subject) =>
    typeof headers === 'function' ? headers(subject) : headers
  return (subject) => ({ ...of(one, subject), ...of(other, subject) })
}
const match: Headers = ({ etag }) => ({ 'If-Match': etag })
const noneMatch: Headers = ({ etag }) => ({ 'If-None-Match': etag })
const before: Headers = ({ date }) => ({ 'If-Unmodified-Since': date(-1) })
const since: Headers = ({ date }) => ({ 'If-Modified-Since': date() })
const range: Headers = { Range: 'bytes=2-5' }
const past: Headers = { Range: 'bytes=10000-' }

add('13.2.2, 1', 'If-Match outweighs If-Unmodified-Since', both(match, before), 200, { body: 'whole' })
add(
  '13.2.2, 1',
  'If-Match fails before If-None-Match matches',
  both({ 'If-Match': '"x"' }, noneMatch),
  412,
  failed,
)
add('13.2.2, 1', 'If-Match fails before Range', both({ 'If-Match': '"x"' }, past), 412, failed)
add('13.2.2, 1', 'If-Match met, then Range', both(match, range), 206, part(2, 5))
add('13.2.2, 1', 'If-Match met, then a range past the end', both(match, past), 416)
add('13.2.2, 2', 'If-Unmodified-Since fails before If-None-Match', both(before, noneMatch), 412, failed)
add('13.2.2, 2', 'If-Unmodified-Since fails before Range', both(before, range), 412, failed)
add('13.2.2, 3', 'If-Match met, then If-None-Match', both(match, noneMatch), 304, unchanged)
add('13.2.2, 3', 'If-None-Match before Range', both(noneMatch, range), 304, unchanged)
add('13.2.2, 3', 'If-None-Match before a range past the end', both(noneMatch, past), 304, unchanged)
add(
  '13.2.2, 3',
  'If-None-Match of another, then Range',
  both({ 'If-None-Match': '"x"' }, range),
  206,
  part(2, 5),
)
add('13.2.2, 3', 'If-None-Match outweighs If-Modified-Since', both({ 'If-None-Match': '"x"' }, since), 200)
add('13.2.2, 4', 'If-Modified-Since before Range', both(since, range), 304, unchanged)
add('13.2.2, 4', 'If-Match met, then If-Modified-Since', both(match, since), 304, unchanged)
add(
  '13.2.2, 4',
  'modified since, then Range',
  both(({ date }) => ({ 'If-Modified-Since': date(-1) }), range),
  206,
)

// --- If-Range

const ifRange = (value: (subject: Subject) => string, asked = range): Case['headers'] =>
  both((subject) => ({ 'If-Range': value(subject) }), asked)
add(
  '13.1.5',
  'If-Range with the tag',
  ifRange(({ etag }) => etag),
  206,
  part(2, 5),
)
add(
  '13.1.5',
  'If-Range with another',
  ifRange(() => '"x"'),
  200,
  { body: 'whole', answer: { 'content-range': null } },
)
add(
  '13.1.5',
  'If-Range compares strongly',
  ifRange(({ etag }) => `W/${etag}`),
  200,
  { body: 'whole' },
)
add(
  '13.1.5',
  'If-Range takes one tag',
  ifRange(({ etag }) => `"x", ${etag}`),
  200,
  { body: 'whole' },
)
add(
  '13.1.5',
  'If-Range does not take any',
  ifRange(() => '*'),
  200,
  { body: 'whole' },
)
add(
  '13.1.5',
  'If-Range with the date',
  ifRange(({ date }) => date()),
  206,
  part(2, 5),
)
add(
  '13.1.5',
  'If-Range with an earlier date',
  ifRange(({ date }) => date(-1)),
  200,
  { body: 'whole' },
)
add(
  '13.1.5',
  'If-Range with a later date, which is not the same',
  ifRange(({ date }) => date(1)),
  200,
  {
    body: 'whole',
  },
)
add(
  '13.1.5',
  'If-Range with neither',
  ifRange(() => 'x'),
  200,
  { body: 'whole' },
)
add('13.1.5', 'If-Range without Range', ({ etag }) => ({ 'If-Range': etag }), 200, { body: 'whole' })
add(
  '13.1.5',
  'If-Range of another, range past the end',
  ifRange(() => '"x"', past),
  200,
  { body: 'whole' },
)
add(
  '13.1.5',
  'If-Range met, range past the end',
  ifRange(({ etag }) => etag, past),
  416,
)
add(
  '13.1.5',
  'If-Range with HEAD',
  ifRange(({ etag }) => etag),
  200,
  { method: 'HEAD', body: 'none' },
)
add(
  '13.2.2, 5',
  'If-None-Match before If-Range',
  both(
    noneMatch,
    ifRange(() => '"x"'),
  ),
  304,
  unchanged,
)

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
  ['*', 'br'],
  ['br;q=0, *', 'gzip'],
  ['BR', 'br'],
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
add('7.7', 'what could be compressed on the way is not to be', {}, 200, {
  about: 'code',
  answer: { 'cache-control': 'public, max-age=31536000, immutable, no-transform' },
})
add('12.5.5', 'what has one form varies with nothing', { 'Accept-Encoding': 'br' }, 200, {
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
add('14.2', 'a range is of the bytes as they are', both(range, { 'Accept-Encoding': 'br' }), 206, codePart)
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
  'the length in a 416 is that of the bytes as they are',
  both({ Range: 'bytes=9999999-' }, { 'Accept-Encoding': 'br' }),
  416,
  {
    about: 'code',
    answer: ({ size }) => ({ 'content-range': `bytes */${size}`, vary: 'Accept-Encoding' }),
  },
)
add('14.2', 'HEAD with a range is in the coding', both(range, { 'Accept-Encoding': 'br' }), 200, {
  about: 'code',
  method: 'HEAD',
  answer: { 'content-encoding': 'br' },
})
add('12.5.3', 'a coding that does not exist of this file', {}, 200, {
  about: 'script',
  body: 'whole',
  answer: { vary: 'Accept-Encoding', 'content-encoding': null, 'cache-control': /no-transform/ },
})

// --- The same file at its hub address

add('15.3.1', 'by version, for ever', {}, 200, {
  about: 'version',
  body: 'whole',
  answer: ({ etag }) => ({
    etag,
    'cache-control': 'public, max-age=31536000, immutable',
    'accept-ranges': 'bytes',
  }),
})
add('15.3.1', 'by alias, to be asked for again', {}, 200, {
  about: 'alias',
  body: 'whole',
  answer: ({ etag }) => ({ etag, 'cache-control': 'no-cache' }),
})
add('15.3.7', 'by alias, a part', range, 206, { about: 'alias', ...part(2, 5) })
add('15.4.5', 'by alias, unchanged', noneMatch, 304, {
  about: 'alias',
  body: 'none',
  answer: ({ etag }) => ({ etag }),
})
add('15.5.17', 'by version, past the end', past, 416, {
  about: 'version',
  answer: ({ size }) => ({ 'content-range': `bytes */${size}` }),
})
add('9.3.2', 'by version, HEAD', {}, 200, {
  about: 'version',
  method: 'HEAD',
  body: 'none',
  answer: ({ size }) => ({ 'content-length': String(size), 'x-linked-size': String(size) }),
})

// --- The API

add('RFC 9111, 5.2.2.4', 'a manifest is kept by the browser alone, which asks again', {}, 200, {
  about: 'manifest',
  answer: {
    'cache-control': 'private, no-cache',
    etag: /^W\/"[0-9a-f]{64}"$/,
    'content-type': 'application/json',
  },
})
add('13.1.2', 'an unchanged manifest', noneMatch, 304, {
  about: 'manifest',
  body: 'none',
  answer: ({ etag }) => ({ etag }),
})
add('13.1.2', 'any manifest', { 'If-None-Match': '*' }, 304, { about: 'manifest', body: 'none' })
add('13.1.2', 'a changed manifest', { 'If-None-Match': 'W/"x"' }, 200, { about: 'manifest' })
add('14.2', 'a manifest knows no ranges', range, 200, {
  about: 'manifest',
  answer: { 'content-range': null },
})
add('RFC 9111, 5.2.2.5', 'the list is kept nowhere', {}, 200, {
  about: 'list',
  answer: { 'cache-control': 'no-store' },
})
add('14.2', 'the list knows no ranges', range, 200, { about: 'list', answer: { 'content-range': null } })
add('15.3.1', 'the page', {}, 200, { about: 'page', answer: { 'content-type': /^text\/html/ } })
