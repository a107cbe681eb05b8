// Ranges: RFC 9110 sections 14 and 15.5.17; If-Range: section 13.1.5.
import { both, type Case, noneMatch, part, past, range, type Subject, table, unchanged } from './case.ts'

const { add, cases } = table()

export { cases as ranges }

// --- Satisfiable ranges

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
add('14.1', 'the unit is case-insensitive', { Range: 'BYTES=1-2' }, 206, part(1, 2))
add('15.3.7', 'a 206 response may be cached, but not compressed by proxies', { Range: 'bytes=0-9' }, 206, {
  answer: { 'cache-control': /immutable.*no-transform/ },
})
add('14.2', 'HEAD ignores Range', { Range: 'bytes=0-9' }, 200, {
  method: 'HEAD',
  body: 'none',
  answer: ({ size }) => ({ 'content-length': String(size), 'content-range': null }),
})
add('14.2', 'HEAD with a range past the end', { Range: 'bytes=10000-' }, 200, {
  method: 'HEAD',
  body: 'none',
})

// --- Unsatisfiable ranges

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
    detail: new RegExp(`^Invalid range "${range}": the file has 10000 bytes`),
  })
}

// --- An empty file

add('15.3.1', 'an empty file is complete', {}, 200, {
  about: 'empty',
  body: 'none',
  answer: { 'content-length': '0' },
})
for (const range of ['bytes=0-', 'bytes=0-0', 'bytes=-0']) {
  add('15.5.17', `Range: ${range} of an empty file`, { Range: range }, 416, {
    about: 'empty',
    answer: { 'content-range': 'bytes */0' },
  })
}
add('13.1.2', 'an empty file with another tag', { 'If-None-Match': '"x"' }, 200, {
  about: 'empty',
  body: 'none',
})
add('14.1.2', 'a suffix of an empty file is the whole file', { Range: 'bytes=-1' }, 200, {
  about: 'empty',
  body: 'none',
})

// --- Headers that are not a single range of bytes are ignored

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
  add('14.2', `multiple ranges, ${range}, are ignored`, { Range: range }, 200, {
    body: 'whole',
    answer: ({ size }) => ({ 'content-range': null, 'content-length': String(size) }),
  })
}

// --- If-Range

const ifRange = (value: (subject: Subject) => string, requested = range): Case['headers'] =>
  both((subject) => ({ 'If-Range': value(subject) }), requested)
add(
  '13.1.5',
  'If-Range with the tag',
  ifRange(({ etag }) => etag),
  206,
  part(2, 5),
)
add(
  '13.1.5',
  'If-Range with another tag',
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
  'If-Range allows a single tag',
  ifRange(({ etag }) => `"x", ${etag}`),
  200,
  { body: 'whole' },
)
add(
  '13.1.5',
  'If-Range does not allow *',
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
  'If-Range with a later date',
  ifRange(({ date }) => date(1)),
  200,
  {
    body: 'whole',
  },
)
add(
  '13.1.5',
  'If-Range with neither tag nor date',
  ifRange(() => 'x'),
  200,
  { body: 'whole' },
)
add('13.1.5', 'If-Range without Range', ({ etag }) => ({ 'If-Range': etag }), 200, { body: 'whole' })
add(
  '13.1.5',
  'If-Range with another tag, range past the end',
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
