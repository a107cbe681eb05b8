// Requests of nginx's own tests (range.t and not_modified.t of github.com/nginx/nginx-tests). Where RFC 9110 allows several
// responses, this server's differs: it ignores multiple and malformed ranges, which nginx answers with 206 and 416.
import { failed, part, table, unchanged } from './case.ts'

const { add, cases } = table()

export { cases as nginx }

add('14.1.2', 'range.t: the first nine bytes', { Range: 'bytes=0-8' }, 206, part(0, 8))
add('14.1.2', 'range.t: the final bytes', { Range: 'bytes=-10' }, 206, part(9990, 9999))
add('14.1.2', 'range.t: the final bytes, explicit', { Range: 'bytes=9990-' }, 206, part(9990, 9999))
add('14.1.2', 'range.t: more than the length', { Range: 'bytes=9990-19990' }, 206, part(9990, 9999))
add('15.5.17', 'range.t: not satisfiable', { Range: 'bytes=1000000-' }, 416)
const ignored = { body: 'whole', answer: { 'content-range': null } } as const
for (const range of [
  'bytes=0-9, -10, 10-19',
  'bytes=0-9, -10, 1000000-, 10-19',
  'bytes=0-100001, 0-0',
  'bytes=alpha',
  'bytes=10-alpha',
  'bytes=10',
  'bytes=10-11 12-',
]) {
  add('14.2', `range.t: ${range}`, { Range: range }, 200, ignored)
}

// Around the limits of 31 and 32 bits.
for (const date of [
  'Wed, 08 Jul 2037 22:53:52 GMT',
  'Tue, 19 Jan 2038 03:14:07 GMT',
  'Tue, 19 Jan 2038 03:14:08 GMT',
  'Fri, 25 Feb 2174 09:42:23 GMT',
]) {
  add('13.1.3', `not_modified.t: ${date}`, { 'If-Modified-Since': date }, 304, unchanged)
}
const list = (etag: string) => `"foo", "bar", \t${etag} , "baz"`
add(
  '13.1.2',
  'not_modified.t: a complex list',
  ({ etag }) => ({ 'If-None-Match': list(etag) }),
  304,
  unchanged,
)
add('13.1.1', 'not_modified.t: a complex list', ({ etag }) => ({ 'If-Match': list(etag) }), 200, {
  body: 'whole',
})
add('13.1.1', 'not_modified.t: a list without the tag', { 'If-Match': '"foo", "bar"' }, 412, failed)
add('13.2.1', 'not_modified.t: If-Match of an unknown file', { 'If-Match': '"foo"' }, 404, {
  about: 'nothing',
})
