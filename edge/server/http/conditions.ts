// Conditional and range requests by RFC 9110, sections 13 and 14. R2's own evaluation is another: it
// answers unsatisfiable, reversed and foreign ranges with the whole object, and knows no If-Range.
import type { ByteRange } from '../storage/storage.ts'
import { parseHttpDate } from './date.ts'

/** The stored representation that a request is about. */
export interface Representation {
  /** A strong entity tag, quotes included. */
  etag: string
  lastModified: Date
  bytes: number
}

/** How to answer: with everything (200), a part (206), or no content at all. */
export type Answer =
  | { status: 200; range?: never }
  | { status: 206; range: ByteRange }
  | { status: 304 }
  | { status: 412 }
  | { status: 416 }

/** Evaluates preconditions and range in the order of RFC 9110 section 13.2.2. */
export function evaluate(method: string, headers: Headers, stored: Representation): Answer {
  // Dates in headers count whole seconds.
  const modified = Math.floor(stored.lastModified.getTime() / 1000) * 1000

  const ifMatch = headers.get('If-Match')
  const ifUnmodifiedSince = parseHttpDate(headers.get('If-Unmodified-Since'))
  if (ifMatch !== null) {
    if (!lists(ifMatch, stored.etag, 'strong')) return { status: 412 }
  } else if (ifUnmodifiedSince !== null && modified > ifUnmodifiedSince) return { status: 412 }

  const ifNoneMatch = headers.get('If-None-Match')
  const ifModifiedSince = parseHttpDate(headers.get('If-Modified-Since'))
  if (ifNoneMatch !== null) {
    if (lists(ifNoneMatch, stored.etag, 'weak')) return { status: 304 }
  } else if (ifModifiedSince !== null && modified <= ifModifiedSince) return { status: 304 }

  // Range is defined for GET alone (section 14.2).
  const range = method === 'GET' ? headers.get('Range') : null
  if (range !== null && rangeApplies(headers.get('If-Range'), stored.etag, modified)) {
    const part = selectRange(range, stored.bytes)
    if (part === 'unsatisfiable') return { status: 416 }
    if (part !== 'ignore') return { status: 206, range: part }
  }
  return { status: 200 }
}

/**
 * The bytes that a Range header selects (section 14.1.2). Several ranges at once, other units and anything
 * malformed are ignored, as section 14.2 allows: the answer is then the whole.
 */
export function selectRange(header: string, bytes: number): ByteRange | 'ignore' | 'unsatisfiable' {
  const match = /^bytes=(\d*)-(\d*)$/i.exec(header)
  if (match === null) return 'ignore'
  const [first, last] = [match[1]!, match[2]!]
  if (first === '') {
    if (last === '') return 'ignore'
    const length = Math.min(Number(last), bytes)
    // The end of nothing is nothing, and a Content-Range cannot say so: the answer is the whole, which is empty.
    if (bytes === 0 && Number(last) > 0) return 'ignore'
    return length === 0 ? 'unsatisfiable' : { offset: bytes - length, length }
  }
  const offset = Number(first)
  if (last !== '' && Number(last) < offset) return 'ignore'
  if (offset >= bytes) return 'unsatisfiable'
  const end = last === '' ? bytes : Math.min(Number(last) + 1, bytes)
  return { offset, length: end - offset }
}

/** Whether If-Range lets the range through: no header, or a strong match (section 13.1.5). */
function rangeApplies(ifRange: string | null, etag: string, modified: number): boolean {
  if (ifRange === null) return true
  if (ifRange.includes('"')) return ifRange === etag
  // A date is a strong validator here: what is stored under a hash never changes.
  return parseHttpDate(ifRange) === modified
}

/**
 * Whether a list of entity tags, or `*`, holds this one; a strong comparison never matches a weak tag.
 * @param opaque the tag in its quotes, without W/
 */
export function lists(header: string, opaque: string, comparison: 'strong' | 'weak'): boolean {
  if (header === '*') return true
  for (const [, weak, tag] of header.matchAll(/(W\/)?("[^"]*")/g)) {
    if (tag === opaque && (comparison === 'weak' || weak === undefined)) return true
  }
  return false
}
