// Endpoints of the Hugging Face hub's API that its clients need to find, list and download models:
// https://huggingface.co/docs/hub/api. A revision is a version, or its first 40 digits (the length of a Git commit).
// The revisions `main` and `HEAD` mean the latest version.
import { type Context, type Handler, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import * as z from 'zod'
import { deliver, immutableCacheControl } from '../http/deliver.ts'
import { rateLimited } from '../http/guards.ts'
import type { Cost, Env } from '../http/host.ts'
import { isHubClient } from '../http/hub-client.ts'
import { Problem } from '../http/problem.ts'
import { RegistryError } from '../registry/errors.ts'
import { listModels } from '../registry/listing.ts'
import { findVersion, type ModelVersion } from '../registry/models.ts'
import {
  commitId,
  describeModel,
  describeVersion,
  listCommits,
  listEntries,
  listFiles,
  listReferences,
} from './hub-responses.ts'
import { isModelName } from './names.ts'
import { listQuery } from './schemas.ts'

const noStore = { 'Cache-Control': 'no-store' }

/** Maximum size of the body of a request for some paths. */
const maxBodyBytes = 100_000

/** `/:owner/:name/resolve/:revision/:path`, and the hub API's endpoints for models. Must be mounted before our own API. */
export const hub = new Hono<Env>()
  .get('/:owner/:name/resolve/:revision/:path{.+}', rateLimited('read'), async (c) => {
    const model = await findRevision(c)
    const path = c.req.param('path')
    const files = listFiles(model)
    const file = files.find((each) => each.path === path)
    if (file === undefined) throw unknownPath(model, path)
    return await deliver(c, file.sha256, {
      'X-Repo-Commit': commitId(model.version),
      'X-Linked-Size': String(file.bytes),
      'X-Linked-ETag': `"${file.sha256}"`,
      // Purged when the version is unpublished, and when the file is removed.
      'Cache-Tag': `${file.sha256},${model.version}`,
      'Content-Disposition': `inline; filename="${path}"`,
      // An alias can move to another version; a version never changes.
      'Cache-Control': model.version.startsWith(c.req.param('revision')) ? immutableCacheControl : 'no-cache',
    })
  })
  .get(
    '/api/models',
    forPythonClient('list', async (c) => c.json(...(await findModels(c)))),
  )
  .get(
    '/api/models/:owner/:name',
    forPythonClient('read', async (c) => c.json(describeVersion(await findRevision(c)), 200, noStore)),
  )
  .get('/api/models/:owner/:name/revision/:revision', rateLimited('read'), async (c) =>
    c.json(describeVersion(await findRevision(c)), 200, noStore),
  )
  .get('/api/models/:owner/:name/tree/:revision', rateLimited('read'), async (c) =>
    c.json(listEntries(await findRevision(c)), 200, noStore),
  )
  .get('/api/models/:owner/:name/tree/:revision/:path{.+}', rateLimited('read'), async (c) => {
    throw unknownPath(await findRevision(c), c.req.param('path'))
  })
  .get('/api/models/:owner/:name/refs', rateLimited('read'), async (c) =>
    c.json(listReferences((await findRevision(c)).record), 200, noStore),
  )
  .get('/api/models/:owner/:name/commits/:revision', rateLimited('read'), async (c) =>
    c.json(listCommits(await findRevision(c)), 200, noStore),
  )
  .post(
    '/api/models/:owner/:name/paths-info/:revision',
    rateLimited('read'),
    bodyLimit({
      maxSize: maxBodyBytes,
      onError: () => {
        throw new Problem(413, `Invalid body: expected at most ${maxBodyBytes} bytes. List fewer paths.`)
      },
    }),
    async (c) => {
      const paths = await readPaths(c)
      const entries = listEntries(await findRevision(c))
      return c.json(
        entries.filter(({ path }) => paths.includes(path)),
        200,
        noStore,
      )
    },
  )

/**
 * Creates a handler for a path at which both our own API and the hub's respond. Only the hub's Python client requests the
 * hub's response there. Requests of others are passed on.
 */
function forPythonClient(cost: Cost, handler: Handler<Env>): Handler<Env> {
  const limit = rateLimited(cost)
  return async (c, next) => {
    if (!isHubClient(c.req.header('User-Agent'))) return next()
    await limit(c, async () => {})
    return handler(c, next)
  }
}

/** Error headers that the hub's clients read. Constant, because names from the URL are not safe in a header. */
const notFound = {
  model: { 'X-Error-Code': 'RepoNotFound', 'X-Error-Message': 'Repository not found' },
  revision: { 'X-Error-Code': 'RevisionNotFound', 'X-Error-Message': 'Revision not found' },
  file: { 'X-Error-Code': 'EntryNotFound', 'X-Error-Message': 'Entry not found' },
} as const

/** Finds the version that a path refers to. Default: the latest. */
async function findRevision(c: Context<Env>): Promise<ModelVersion> {
  const { owner = '', name = '', revision = 'main' } = c.req.param()
  if (!isModelName(owner, name)) {
    throw new Problem(404, `Unknown model "${owner}/${name}".`, notFound.model)
  }
  const reference = revision === 'main' || revision === 'HEAD' ? 'latest' : revision
  try {
    return await findVersion(c.var.host.storage, `${owner}/${name}`, reference)
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    const headers = notFound[error.reason === 'unknown version' ? 'revision' : 'model']
    throw new Problem(404, error.message, headers)
  }
}

function unknownPath(model: ModelVersion, path: string): Problem {
  const known = listFiles(model)
    .map(({ path }) => path)
    .join(', ')
  return new Problem(
    404,
    `Unknown file "${path}" of ${model.record.name}: expected one of ${known}.`,
    notFound.file,
  )
}

/** Searches models like the hub: `search` words, `author`, `limit`. Returns the body, status and headers of the response. */
async function findModels(c: Context<Env>) {
  const { search, author, after, limit = maxPageSize } = c.req.query()
  const query = listQuery.safeParse({ q: search, after, limit: Math.min(Number(limit), maxPageSize) })
  if (!query.success) throw new Problem(422, `Invalid query: ${z.prettifyError(query.error)}.`)
  const page = await listModels(c.var.host.storage, { ...query.data, query: search })
  const models = page.models.filter(({ name }) => author === undefined || name.startsWith(`${author}/`))
  const next = new URL(c.req.url)
  next.searchParams.set('after', page.next ?? '')
  // The Python client requires an absolute address.
  const headers = page.next === null ? noStore : { ...noStore, Link: `<${next}>; rel="next"` }
  return [models.map((model) => describeModel(model)), 200, headers] as const
}

/** Maximum number of models on a page of the list. */
const maxPageSize = 100

/** Reads the paths from the body: JSON from the JavaScript client, a form from the Python client. */
async function readPaths(c: Context<Env>): Promise<readonly string[]> {
  const isForm = c.req.header('Content-Type')?.startsWith('application/x-www-form-urlencoded')
  const body: unknown = isForm ? await c.req.parseBody({ all: true }) : await c.req.json().catch(() => null)
  const { paths } = (body ?? {}) as { paths?: unknown }
  const list = isForm && typeof paths === 'string' ? [paths] : paths
  if (Array.isArray(list) && list.every((path) => typeof path === 'string')) return list
  throw new Problem(422, 'Invalid body: expected a list of strings "paths", as JSON or as a form.')
}
