// Conditional and range requests by RFC 9110, sections 13 and 14. R2's own evaluation differs: it responds to
// unsatisfiable, reversed and unknown ranges with the whole object, and does not support If-Range.
import type { ByteRange } from '../storage/storage.ts'
import { parseHttpDate } from './date.ts'

/** The validators of a representation. */
export interface Validators {
  /** Strong entity tag, including its quotes. */
  etag: string
  /** Null if the time is not known. */
  lastModified: Date | null
}

/** Metadata of the requested representation. */
export interface Representation extends Validators {
  lastModified: Date
  bytes: number
}

/** Status of the response, and the byte range to send for 206. */
export type Outcome =
  | { status: 200; range?: never }
  | { status: 206; range: ByteRange }
  | { status: 304 }
  | { status: 412 }
  | { status: 416 }

/** Evaluates preconditions and range in the order of RFC 9110 section 13.2.2. */
export function evaluate(method: string, headers: Headers, stored: Representation): Outcome {
  const failed = evaluatePreconditions(method, headers, stored)
  if (failed !== null) return { status: failed }

  // Range is defined only for GET (section 14.2).
  const range = method === 'GET' ? headers.get('Range') : null
  if (range !== null && rangeApplies(headers.get('If-Range'), stored.etag, seconds(stored.lastModified))) {
    const part = selectRange(range, stored.bytes)
    if (part === 'unsatisfiable') return { status: 416 }
    if (part !== 'ignore') return { status: 206, range: part }
  }
  return { status: 200 }
}

/**
 * Evaluates the preconditions of a request, without its range.
 * @param current the representation that the address has now; null if there is none
 * @returns the status of the response, or null if the request is to be performed
 */
export function evaluatePreconditions(
  method: string,
  headers: Headers,
  current: Validators | null,
): 304 | 412 | null {
  const modified = current?.lastModified ? seconds(current.lastModified) : null
  const reads = method === 'GET' || method === 'HEAD'

  const ifMatch = headers.get('If-Match')
  const ifUnmodifiedSince = parseHttpDate(headers.get('If-Unmodified-Since'))
  if (ifMatch !== null) {
    if (current === null || !listsTag(ifMatch, current.etag, 'strong')) return 412
  } else if (ifUnmodifiedSince !== null && modified !== null && modified > ifUnmodifiedSince) return 412

  const ifNoneMatch = headers.get('If-None-Match')
  const ifModifiedSince = parseHttpDate(headers.get('If-Modified-Since'))
  if (ifNoneMatch !== null) {
    if (current !== null && listsTag(ifNoneMatch, current.etag, 'weak')) return reads ? 304 : 412
  } else if (reads && ifModifiedSince !== null && modified !== null && modified <= ifModifiedSince) return 304
  return null
}

/** Returns a time in milliseconds. HTTP dates have a resolution of one second. */
const seconds = (date: Date): number => Math.floor(date.getTime() / 1000) * 1000

/**
 * Parses a Range header (section 14.1.2). Multiple ranges, other units and malformed headers are ignored, as section
 * 14.2 allows: the response is then the whole representation.
 */
export function selectRange(header: string, bytes: number): ByteRange | 'ignore' | 'unsatisfiable' {
  const match = /^bytes=(\d*)-(\d*)$/i.exec(header)
  if (match === null) return 'ignore'
  const [first, last] = [match[1]!, match[2]!]
  if (first === '') {
    if (last === '') return 'ignore'
    const length = Math.min(Number(last), bytes)
    // A suffix of an empty file is empty. Content-Range cannot express that, so the whole file is sent.
    if (bytes === 0 && Number(last) > 0) return 'ignore'
    return length === 0 ? 'unsatisfiable' : { offset: bytes - length, length }
  }
  const offset = Number(first)
  if (last !== '' && Number(last) < offset) return 'ignore'
  if (offset >= bytes) return 'unsatisfiable'
  const end = last === '' ? bytes : Math.min(Number(last) + 1, bytes)
  return { offset, length: end - offset }
}

/** Returns whether the range is to be applied: If-Range is missing, or a strong match (section 13.1.5). */
function rangeApplies(ifRange: string | null, etag: string, modified: number): boolean {
  if (ifRange === null) return true
  if (ifRange.includes('"')) return ifRange === etag
  // A date is a strong validator here, because content under its hash never changes.
  return parseHttpDate(ifRange) === modified
}

/**
 * Returns whether a list of entity tags, or `*`, contains a tag. The strong comparison never matches a weak tag.
 * @param opaque the tag with its quotes, without W/
 */
export function listsTag(header: string, opaque: string, comparison: 'strong' | 'weak'): boolean {
  if (header === '*') return true
  for (const [, weak, tag] of header.matchAll(/(W\/)?("[^"]*")/g)) {
    if (tag === opaque && (comparison === 'weak' || weak === undefined)) return true
  }
  return false
}
