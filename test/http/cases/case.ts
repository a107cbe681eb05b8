// The type of a case, and values that many cases use.

/** A resource that cases request. */
export interface Subject {
  readonly path: string
  readonly size: number
  /** Entity tag, with its quotes. */
  readonly etag: string
  /** Returns Last-Modified, shifted by a number of seconds, as an HTTP date. */
  date(seconds?: number): string
}

/** Names of the resources that cases request; `site.ts` creates them. */
export type About =
  /** A model file of 10,000 random bytes. */
  | 'model'
  /** A file with precompressed variants. */
  | 'code'
  /** A file of a compressible type without variants. */
  | 'script'
  /** A file of type application/wasm without variants. */
  | 'wasm'
  /** A file without bytes. */
  | 'empty'
  /** The model at its hub address, by version. */
  | 'version'
  /** The model at its hub address, by alias. */
  | 'alias'
  /** The model's manifest in the API. */
  | 'manifest'
  /** The list of models in the API. */
  | 'list'
  | 'page'
  /** A file that does not exist. */
  | 'nothing'
  /** The health check. */
  | 'health'
  /** The OpenAPI description. */
  | 'description'
  /** The endpoint of the garbage collection, which allows POST only. */
  | 'collection'
  /** An endpoint that does not exist. */
  | 'nowhere'
  /** A hidden file. */
  | 'hidden'
  /** A hub address whose revision contains a line break and characters outside ASCII. */
  | 'revision'
  /** The manifest of a model whose name contains "..". */
  | 'dots'
  /** A file of a model whose name contains "..". */
  | 'dotsFile'
  /** A page of the list, with a character outside ASCII in the parameter `after`. */
  | 'after'

export interface Case {
  readonly section: string
  readonly name: string
  readonly about: About
  readonly method: string
  readonly headers: (subject: Subject) => Record<string, string>
  readonly status: number
  /** Expected response headers: an exact value, a pattern, or null for absent. */
  readonly answer: (subject: Subject) => Record<string, string | RegExp | null>
  /** Expected body: first and last byte, all bytes, all bytes in a coding, or empty. Default: not checked. */
  readonly body?: readonly [number, number] | 'whole' | 'br' | 'gzip' | 'none'
  /** Pattern for the `detail` of a problem response. */
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

/** Creates a list of cases and a function that adds one to it. */
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

/** Expected 206 response for the model. */
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

/** Expected 412 response. */
export const failed: Rest = {
  answer: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', 'content-range': null },
}

/** Expected 304 response for the model. */
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

/** Combines two sets of request headers. */
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
