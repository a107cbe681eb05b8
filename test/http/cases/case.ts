// What a case is, and what many cases say.
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
 * compressed and is not; an empty file; the model by its hub address, of a version and of an alias; the manifest and
 * the list in the API, its description, and `collection`, which takes POST alone; the page; the state of the server; a
 * file and an endpoint that are not there, a hidden name; a `revision` with a line break and no ASCII, and a page of
 * the list `after` such a name.
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
  | 'health'
  | 'description'
  | 'collection'
  | 'nowhere'
  | 'hidden'
  | 'revision'
  | 'after'

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
  /** Of a problem. */
  readonly detail?: RegExp
}

export type Headers = Case['headers'] | Record<string, string>
type Answer = Case['answer'] | Record<string, string | RegExp | null>

export interface Rest {
  about?: About
  method?: string
  answer?: Answer
  body?: NonNullable<Case['body']>
  detail?: RegExp
}

/** A table of cases, and what adds one to it. */
export function table(): {
  cases: Case[]
  add: (section: string, name: string, headers: Headers, status: number, rest?: Rest) => void
} {
  const cases: Case[] = []
  return {
    cases,
    add(section, name, headers, status, { about = 'model', method = 'GET', answer = {}, ...rest } = {}) {
      cases.push({
        section,
        name,
        about,
        method,
        headers: typeof headers === 'function' ? headers : () => headers,
        status,
        answer: typeof answer === 'function' ? answer : () => answer,
        ...rest,
      })
    },
  }
}

export const immutable = /^public, max-age=31536000, immutable/

/** What a 206 of the model says. */
export const part = (first: number, last: number): Pick<Rest, 'answer' | 'body'> => ({
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

/** What a 412 says. */
export const failed: Rest = {
  answer: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', 'content-range': null },
}

/** What a 304 of the model says. */
export const unchanged: Rest = {
  body: 'none',
  answer: ({ etag, date }) => ({
    etag,
    'cache-control': immutable,
    'last-modified': date(),
    'content-type': null,
    'content-range': null,
  }),
}

/** The headers of two, together. */
export const both = (one: Headers, other: Headers): Case['headers'] => {
  const of = (headers: Headers, subject: Subject) =>
    typeof headers === 'function' ? headers(subject) : headers
  return (subject) => ({ ...of(one, subject), ...of(other, subject) })
}
export const match: Headers = ({ etag }) => ({ 'If-Match': etag })
export const noneMatch: Headers = ({ etag }) => ({ 'If-None-Match': etag })
export const before: Headers = ({ date }) => ({ 'If-Unmodified-Since': date(-1) })
export const since: Headers = ({ date }) => ({ 'If-Modified-Since': date() })
export const range: Headers = { Range: 'bytes=2-5' }
export const past: Headers = { Range: 'bytes=10000-' }
