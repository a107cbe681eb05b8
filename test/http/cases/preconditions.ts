// Preconditions and their order: RFC 9110 section 13.
import { before, both, failed, match, noneMatch, part, past, range, since, table, unchanged } from './case.ts'

const { add, cases } = table()

export { cases as preconditions }

// --- If-Match

add('13.1.1', 'If-Match with the tag', ({ etag }) => ({ 'If-Match': etag }), 200, { body: 'whole' })
add('13.1.1', 'If-Match with the tag in a list', ({ etag }) => ({ 'If-Match': `"x", ${etag} , "y"` }), 200)
add('13.1.1', 'If-Match: *', { 'If-Match': '*' }, 200)
add('13.1.1', 'If-Match with another tag', { 'If-Match': '"x"' }, 412, failed)
add('13.1.1', 'If-Match compares strongly', ({ etag }) => ({ 'If-Match': `W/${etag}` }), 412, failed)
add('13.1.1', 'If-Match without a tag', { 'If-Match': 'x' }, 412, failed)
add('8.8.3', 'If-Match without quotes', ({ etag }) => ({ 'If-Match': etag.slice(1, -1) }), 412, failed)
add('13.1.1', 'If-Match: * for an unknown file', { 'If-Match': '*' }, 404, { about: 'nothing' })
add(
  '8.8.3',
  'a comma within a tag is part of the tag',
  ({ etag }) => ({ 'If-Match': `"x,${etag.slice(1)}` }),
  412,
)
add('9.3.2', 'If-Match with HEAD', { 'If-Match': '"x"' }, 412, { method: 'HEAD', body: 'none' })

// --- If-None-Match

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
add('13.1.2', 'If-None-Match: *', { 'If-None-Match': '*' }, 304, unchanged)
add('13.1.2', 'If-None-Match: * with surrounding spaces', { 'If-None-Match': ' * ' }, 304, unchanged)
add('13.1.2', 'If-None-Match with another tag', { 'If-None-Match': '"x"' }, 200, { body: 'whole' })
add('13.1.2', 'If-None-Match with another, weak tag', { 'If-None-Match': 'W/"x"' }, 200, { body: 'whole' })
add('13.1.2', 'If-None-Match without quotes', ({ etag }) => ({ 'If-None-Match': etag.slice(1, -1) }), 200)
add('13.1.2', 'If-None-Match with HEAD', ({ etag }) => ({ 'If-None-Match': etag }), 304, {
  method: 'HEAD',
  body: 'none',
})
add('13.1.2', 'If-None-Match: * for an unknown file', { 'If-None-Match': '*' }, 404, { about: 'nothing' })

// --- Manifests

const manifest = { about: 'manifest' } as const
add('13.1.1', 'If-Match with the tag of a manifest', ({ etag }) => ({ 'If-Match': etag }), 200, {
  ...manifest,
  body: 'whole',
})
add('13.1.1', 'If-Match with the tag of another manifest', { 'If-Match': '"x"' }, 412, {
  ...manifest,
  ...failed,
})
add('13.1.1', 'If-Match: * of a manifest', { 'If-Match': '*' }, 200, manifest)
add('13.1.1', 'If-Match of a manifest compares strongly', ({ etag }) => ({ 'If-Match': `W/${etag}` }), 412, {
  ...manifest,
  ...failed,
})
add(
  '13.2.2, 1',
  'If-Match fails before If-None-Match of a manifest',
  both({ 'If-Match': '"x"' }, noneMatch),
  412,
  {
    ...manifest,
    ...failed,
  },
)
add('8.8.1', 'the tag of a manifest is strong', {}, 200, {
  ...manifest,
  answer: { etag: /^"[0-9a-f]{64}"$/ },
})

// --- Order of evaluation

add('13.2.2, 1', 'If-Match overrides If-Unmodified-Since', both(match, before), 200, { body: 'whole' })
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
  'If-None-Match with another tag, then Range',
  both({ 'If-None-Match': '"x"' }, range),
  206,
  part(2, 5),
)
add('13.2.2, 3', 'If-None-Match overrides If-Modified-Since', both({ 'If-None-Match': '"x"' }, since), 200)
add('13.2.2, 4', 'If-Modified-Since before Range', both(since, range), 304, unchanged)
add('13.2.2, 4', 'If-Match met, then If-Modified-Since', both(match, since), 304, unchanged)
add(
  '13.2.2, 4',
  'If-Modified-Since met, then Range',
  both(({ date }) => ({ 'If-Modified-Since': date(-1) }), range),
  206,
)
