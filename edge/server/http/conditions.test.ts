import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fc } from '../../../test/support/properties.ts'
import { evaluate, evaluatePreconditions, listsTag, selectRange } from './conditions.ts'

const stored = {
  etag: '"abc"',
  lastModified: new Date('2026-03-01T12:00:00.750Z'),
  bytes: 10000,
}
const sameSecond = 'Sun, 01 Mar 2026 12:00:00 GMT'
const before = 'Sun, 01 Mar 2026 11:59:59 GMT'
const whole = { status: 200 }

// RFC 9110 section 14.1.2 gives these for a representation of 10000 bytes.
test('the byte ranges of RFC 9110', () => {
  assert.deepEqual(selectRange('bytes=0-499', 10000), { offset: 0, length: 500 })
  assert.deepEqual(selectRange('bytes=500-999', 10000), { offset: 500, length: 500 })
  assert.deepEqual(selectRange('bytes=-500', 10000), { offset: 9500, length: 500 })
  assert.deepEqual(selectRange('bytes=9500-', 10000), { offset: 9500, length: 500 })
})

test('ranges past the end are truncated; ranges that start there are unsatisfiable', () => {
  assert.deepEqual(selectRange('bytes=9999-20000', 10000), { offset: 9999, length: 1 })
  assert.deepEqual(selectRange('bytes=-20000', 10000), { offset: 0, length: 10000 })
  assert.deepEqual(selectRange(`bytes=0-${'9'.repeat(400)}`, 10000), { offset: 0, length: 10000 })
  for (const range of ['bytes=10000-', 'bytes=10000-10001', 'bytes=-0', `bytes=${'9'.repeat(400)}-`]) {
    assert.equal(selectRange(range, 10000), 'unsatisfiable', range)
  }
  assert.equal(selectRange('bytes=0-', 0), 'unsatisfiable')
  assert.equal(selectRange('bytes=-1', 0), 'ignore', 'a suffix of an empty file')
})

test('headers that are not a single range of bytes are ignored', () => {
  const headers = [
    'bytes=0-0,-1',
    'bytes=5-2',
    'bytes=-',
    'bytes=',
    'bytes',
    'bytes=a-b',
    'bytes=1.5-2',
    'lines=0-1',
  ]
  for (const range of [...headers, 'bytes=0x1-2', 'bytes=--5', 'bytes 0-5', '']) {
    assert.equal(selectRange(range, 10000), 'ignore', range)
  }
  assert.deepEqual(selectRange('Bytes=0-1', 10000), { offset: 0, length: 2 }, 'units are case-insensitive')
})

test('a range selects the same bytes as slicing', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 50 }),
      fc.nat(60),
      fc.nat(60),
      (content, first, more) => {
        const last = first + more
        const expected = {
          [`bytes=${first}-${last}`]: content.slice(first, last + 1),
          [`bytes=${first}-`]: content.slice(first),
          [`bytes=-${more}`]: more === 0 ? content.slice(0, 0) : content.slice(-more),
        }
        for (const [header, bytes] of Object.entries(expected)) {
          const range = selectRange(header, content.length)
          if (bytes.length === 0) assert.equal(range, 'unsatisfiable', header)
          else {
            assert.ok(typeof range === 'object', header)
            assert.deepEqual(content.slice(range.offset, range.offset + range.length), bytes, header)
          }
        }
      },
    ),
  )
})

test('entity tags: strong and weak comparison as in RFC 9110 section 8.8.3.2', () => {
  assert.ok(listsTag('"1"', '"1"', 'strong'))
  assert.ok(!listsTag('W/"1"', '"1"', 'strong') && listsTag('W/"1"', '"1"', 'weak'))
  assert.ok(!listsTag('W/"1"', '"2"', 'strong') && !listsTag('W/"1"', '"2"', 'weak'))
  assert.ok(listsTag('"0", W/"x,y" ,"1"', '"1"', 'strong'))
  assert.ok(!listsTag('"0,1"', '"1"', 'weak'), 'a comma within a tag is part of the tag')
  assert.ok(listsTag('*', '"1"', 'strong'))
  assert.ok(!listsTag('1', '"1"', 'weak'), 'a tag without quotes is invalid')
})

const cases: [string, Record<string, string>, object][] = [
  ['no conditions', {}, whole],
  ['If-Match, met', { 'If-Match': '"x", "abc"' }, whole],
  ['If-Match: *', { 'If-Match': '*' }, whole],
  ['If-Match, weak', { 'If-Match': 'W/"abc"' }, { status: 412 }],
  ['If-Match, other', { 'If-Match': '"x"' }, { status: 412 }],
  ['If-Unmodified-Since, the same second', { 'If-Unmodified-Since': sameSecond }, whole],
  ['If-Unmodified-Since, earlier', { 'If-Unmodified-Since': before }, { status: 412 }],
  ['If-Match overrides the date', { 'If-Match': '"abc"', 'If-Unmodified-Since': before }, whole],
  ['If-None-Match, met', { 'If-None-Match': 'W/"abc"' }, { status: 304 }],
  ['If-None-Match: *', { 'If-None-Match': '*' }, { status: 304 }],
  ['If-None-Match, other', { 'If-None-Match': '"x"' }, whole],
  ['If-Modified-Since, the same second', { 'If-Modified-Since': sameSecond }, { status: 304 }],
  ['If-Modified-Since, earlier', { 'If-Modified-Since': before }, whole],
  ['If-Modified-Since, invalid date', { 'If-Modified-Since': 'yesterday' }, whole],
  ['If-None-Match overrides the date', { 'If-None-Match': '"x"', 'If-Modified-Since': sameSecond }, whole],
  ['If-Match comes first', { 'If-Match': '"x"', 'If-None-Match': '"abc"' }, { status: 412 }],
  ['If-None-Match before Range', { 'If-None-Match': '"abc"', Range: 'bytes=0-1' }, { status: 304 }],
  ['If-Match before Range', { 'If-Match': '"x"', Range: 'bytes=99999-' }, { status: 412 }],
  ['Range', { Range: 'bytes=2-5' }, { status: 206, range: { offset: 2, length: 4 } }],
  ['Range past the end', { Range: 'bytes=10000-' }, { status: 416 }],
  ['multiple ranges', { Range: 'bytes=0-1,4-5' }, whole],
  [
    'If-Range, met',
    { Range: 'bytes=2-5', 'If-Range': '"abc"' },
    { status: 206, range: { offset: 2, length: 4 } },
  ],
  ['If-Range, weak', { Range: 'bytes=2-5', 'If-Range': 'W/"abc"' }, whole],
  ['If-Range, other', { Range: 'bytes=2-5', 'If-Range': '"x"' }, whole],
  ['If-Range, other, past the end', { Range: 'bytes=10000-', 'If-Range': '"x"' }, whole],
  [
    'If-Range, the same date',
    { Range: 'bytes=2-5', 'If-Range': sameSecond },
    { status: 206, range: { offset: 2, length: 4 } },
  ],
  ['If-Range, earlier date', { Range: 'bytes=2-5', 'If-Range': before }, whole],
  ['If-Range, neither tag nor date', { Range: 'bytes=2-5', 'If-Range': 'abc' }, whole],
]

for (const [name, headers, expected] of cases) {
  test(`conditions: ${name}`, () => assert.deepEqual(evaluate('GET', new Headers(headers), stored), expected))
}

test('conditions: HEAD ignores Range', () => {
  assert.deepEqual(evaluate('HEAD', new Headers({ Range: 'bytes=2-5' }), stored), whole)
  assert.deepEqual(evaluate('HEAD', new Headers({ Range: 'bytes=10000-' }), stored), whole)
  assert.deepEqual(evaluate('HEAD', new Headers({ 'If-None-Match': '"abc"' }), stored), { status: 304 })
})

// RFC 9110 section 13.1.1: If-Match fails without a current representation. Section 13.1.2: a method that changes state
// must not be performed. Section 13.1.3: If-Modified-Since applies to GET and HEAD only.
const current = { etag: '"abc"', lastModified: stored.lastModified }
for (const [name, headers, found, expected] of [
  ['If-Match, met', { 'If-Match': '"abc"' }, current, null],
  ['If-Match, not met', { 'If-Match': '"x"' }, current, 412],
  ['If-Match: * without a representation', { 'If-Match': '*' }, null, 412],
  ['If-None-Match: * without a representation', { 'If-None-Match': '*' }, null, null],
  ['If-None-Match: * with a representation', { 'If-None-Match': '*' }, current, 412],
  ['If-None-Match, not met', { 'If-None-Match': '"abc"' }, current, 412],
  ['If-Unmodified-Since, not met', { 'If-Unmodified-Since': before }, current, 412],
  ['If-Unmodified-Since, met', { 'If-Unmodified-Since': sameSecond }, current, null],
  [
    'If-Unmodified-Since, time not known',
    { 'If-Unmodified-Since': before },
    { ...current, lastModified: null },
    null,
  ],
  ['If-Modified-Since', { 'If-Modified-Since': sameSecond }, current, null],
] as const) {
  test(`preconditions of a change: ${name}`, () => {
    for (const method of ['PUT', 'POST', 'DELETE']) {
      assert.equal(evaluatePreconditions(method, new Headers(headers), found), expected, method)
    }
  })
}
