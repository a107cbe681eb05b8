// If-Modified-Since and If-Unmodified-Since: RFC 9110 sections 13.1.3 and 13.1.4. Date formats: section 5.6.7.
import { failed, table, unchanged } from './case.ts'

const { add, cases } = table()

export { cases as dates }

// --- Dates

add(
  '13.1.3',
  'If-Modified-Since, the same second',
  ({ date }) => ({ 'If-Modified-Since': date() }),
  304,
  unchanged,
)
add('13.1.3', 'If-Modified-Since, later', ({ date }) => ({ 'If-Modified-Since': date(60) }), 304, unchanged)
add('13.1.3', 'If-Modified-Since, a second earlier', ({ date }) => ({ 'If-Modified-Since': date(-1) }), 200)
add('13.1.3', 'If-Modified-Since with HEAD', ({ date }) => ({ 'If-Modified-Since': date() }), 304, {
  method: 'HEAD',
  body: 'none',
})
add(
  '13.1.4',
  'If-Unmodified-Since, the same second',
  ({ date }) => ({ 'If-Unmodified-Since': date() }),
  200,
  {
    body: 'whole',
  },
)
add('13.1.4', 'If-Unmodified-Since, later', ({ date }) => ({ 'If-Unmodified-Since': date(60) }), 200)
add(
  '13.1.4',
  'If-Unmodified-Since, a second earlier',
  ({ date }) => ({ 'If-Unmodified-Since': date(-1) }),
  412,
  failed,
)
add('13.1.4', 'If-Unmodified-Since with HEAD', ({ date }) => ({ 'If-Unmodified-Since': date(-1) }), 412, {
  method: 'HEAD',
})

/** A date in the future, in the obsolete formats that recipients must still accept. */
const later850 = 'Sunday, 06-Nov-50 08:49:37 GMT'
const laterAsctime = 'Sun Nov  6 08:49:37 2050'
const earlier850 = 'Sunday, 06-Nov-94 08:49:37 GMT'
/** Returns the last two digits of the year in a number of years. */
const inYears = (years: number) => String((new Date().getUTCFullYear() + years) % 100).padStart(2, '0')
const earlierAsctime = 'Sun Nov  6 08:49:37 1994'
add('5.6.7', 'a later date in the format of RFC 850', { 'If-Modified-Since': later850 }, 304, unchanged)
add('5.6.7', 'a later date in the format of asctime', { 'If-Modified-Since': laterAsctime }, 304, unchanged)
add('5.6.7', 'an earlier date in the format of RFC 850', { 'If-Modified-Since': earlier850 }, 200)
add('5.6.7', 'an earlier date in the format of RFC 850, for 412', { 'If-Unmodified-Since': earlier850 }, 412)
add('5.6.7', 'an earlier date in the format of asctime', { 'If-Unmodified-Since': earlierAsctime }, 412)
add(
  '5.6.7',
  'a two-digit year 50 years ahead is in the future',
  { 'If-Modified-Since': `Sunday, 06-Nov-${inYears(50)} 08:49:37 GMT` },
  304,
  unchanged,
)
add(
  '5.6.7',
  'a two-digit year more than 50 years ahead is in the past',
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
  'Sun, 06 Nov 2050 08:49:37 GMT x',
  'Sunday, 06-Nov-50 08:49:37 GMT x',
  'Sun Nov  6 08:49:37 2050 x',
  'Sun, 06 Nov 2050 24:00:00 GMT',
  'Sun, 06 Nov 2050 08:60:00 GMT',
  'Sun, 06 Nov 2050 08:49:61 GMT',
  'Sun, 31 Jun 2050 23:59:60 GMT',
]) {
  add('13.1.3', `the invalid date "${text}" is ignored`, { 'If-Modified-Since': text }, 200, {
    body: 'whole',
  })
}
for (const text of ['yesterday', '1994-11-06T08:49:37Z', 'Sun, 06 Nov 94 08:49:37 GMT']) {
  add('13.1.4', `the invalid date "${text}" is ignored`, { 'If-Unmodified-Since': text }, 200, {
    body: 'whole',
  })
}
for (const month of 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')) {
  const date = `Sun, 06 ${month} 2050 08:49:37 GMT`
  add('5.6.7', `a date in ${month}`, { 'If-Modified-Since': date }, 304, unchanged)
}
add('5.6.7', 'a leap second', { 'If-Modified-Since': 'Sat, 31 Dec 2050 23:59:60 GMT' }, 304, unchanged)
