import { type Manifest, manifestSchema } from '@ddpm/shared'
import { createRoute, OpenAPIHono } from '@hono/zod-openapi'
import type { Context, TypedResponse } from 'hono'
import { rateLimited } from '../http/guards.ts'
import type { Env } from '../http/host.ts'
import { requirePreconditions } from '../http/preconditions.ts'
import { listModels } from '../registry/listing.ts'
import { findManifestText, findRecord, recordTag, unknownModelError } from '../registry/models.ts'
import { rejectInvalid } from './invalid.ts'
import { json, listQuery, modelList, modelParams, modelVersions, problems, versionParams } from './schemas.ts'

const list = createRoute({
  method: 'get',
  path: '/',
  summary: 'List the published models by name',
  request: { query: listQuery },
  middleware: [rateLimited('list')] as const,
  responses: { 200: json('a page of models', modelList), ...problems(400, 429) },
})

const latest = createRoute({
  method: 'get',
  path: '/{owner}/{name}',
  summary: 'The manifest of the latest version',
  request: { params: modelParams },
  middleware: [rateLimited('read')] as const,
  responses: { 200: json('a manifest', manifestSchema), ...problems(404, 412, 429) },
})

const versions = createRoute({
  method: 'get',
  path: '/{owner}/{name}/versions',
  summary: 'Versions in the order of publication, and the aliases that point at them',
  request: { params: modelParams },
  middleware: [rateLimited('read')] as const,
  responses: { 200: json('versions and aliases', modelVersions), ...problems(404, 429) },
})

const version = createRoute({
  method: 'get',
  path: '/{owner}/{name}/versions/{version}',
  summary: 'The manifest of a version',
  request: { params: versionParams },
  middleware: [rateLimited('read')] as const,
  responses: { 200: json('a manifest', manifestSchema), ...problems(404, 412, 429) },
})

/** `/api/models`: the read-only routes for models, versions and aliases. */
export const models = new OpenAPIHono<Env>({ defaultHook: rejectInvalid })
  .openapi(list, async (c) => {
    const { q, limit, after } = c.req.valid('query')
    const page = await listModels(c.var.host.storage, { query: q, limit, after })
    const query = new URLSearchParams({ ...(q && { q }), limit: String(limit), after: page.next ?? '' })
    const next: Record<string, string> = page.next ? { Link: `</api/models?${query}>; rel="next"` } : {}
    return c.json(page, 200, { 'Cache-Control': 'no-store', ...next })
  })
  .openapi(latest, (c) => manifestResponse(c, c.req.valid('param')))
  .openapi(versions, async (c) => {
    const { owner, name } = c.req.valid('param')
    const { storage } = c.var.host
    const record = await findRecord(storage, `${owner}/${name}`)
    if (record === null) throw await unknownModelError(storage, `${owner}/${name}`)
    const { versions, aliases } = record
    // Not cached, so only a failed precondition matters. The entity tag is for If-Match of a later change.
    const etag = `"${recordTag(record)}"`
    requirePreconditions(c, { etag, lastModified: null })
    return c.json({ name: record.name, versions, aliases }, 200, { ETag: etag, 'Cache-Control': 'no-store' })
  })
  .openapi(version, (c) => manifestResponse(c, c.req.valid('param')))

/** Responds with a manifest exactly as stored, so that its SHA-256 is the version. */
async function manifestResponse(
  c: Context<Env>,
  { owner, name, version }: { owner: string; name: string; version?: string },
): Promise<TypedResponse<Manifest, 200, 'json'>> {
  const stored = await findManifestText(c.var.host.storage, `${owner}/${name}`, version)
  const etag = `"${stored.version}"`
  const isUnmodified = requirePreconditions(c, { etag, lastModified: null })
  // `private, no-cache`: shared caches do not store the manifest, and browsers revalidate it on every use.
  // `no-transform`: a proxy that compressed the text would make the entity tag weak, which never matches If-Match.
  const headers = {
    ETag: etag,
    'Cache-Control': 'private, no-cache, no-transform',
    'X-Version': stored.version,
  }
  const response = isUnmodified
    ? c.body(null, 304, headers)
    : c.body(stored.text, 200, { ...headers, 'Content-Type': 'application/json' })
  return response as unknown as TypedResponse<Manifest, 200, 'json'>
}
