import { manifestSchema } from '@ddpm/shared'
import { createRoute, OpenAPIHono } from '@hono/zod-openapi'
import { bodyLimit } from 'hono/body-limit'
import { every } from 'hono/combine'
import { requireToken } from '../http/guards.ts'
import type { Env } from '../http/host.ts'
import { hasPreconditions, requirePreconditions, versionPreconditions } from '../http/preconditions.ts'
import { Problem } from '../http/problem.ts'
import { collectGarbage } from '../registry/garbage-collection.ts'
import { findRecord, moveAlias, recordTag, unpublish } from '../registry/models.ts'
import { begin, commit } from '../registry/publishing.ts'
import { verifyFile } from '../registry/verification.ts'
import { rejectInvalid } from './invalid.ts'
import {
  aliasBody,
  aliased,
  aliasParams,
  begun,
  collectBody,
  collected,
  commitBody,
  committed,
  exactVersionParams,
  json,
  modelParams,
  problems,
  verified,
  verifyBody,
  versionParams,
} from './schemas.ts'

/** Maximum size of a JSON body; manifests are the largest. */
const maxJsonBytes = 2 ** 20

const security = [{ token: [] }]
const body = <T>(schema: T, required = true) => ({
  body: { required, content: { 'application/json': { schema } } },
})
const limitBody = bodyLimit({
  maxSize: maxJsonBytes,
  onError: () => {
    throw new Problem(413, `Invalid body: expected at most ${maxJsonBytes} bytes of JSON.`)
  },
})
const middleware = every(requireToken, limitBody)
const errors = problems(400, 401, 404, 405, 409, 412, 413, 415, 422, 429)

const beginning = createRoute({
  method: 'post',
  path: '/models/{owner}/{name}/versions',
  summary: 'Announce a version and list the files that are missing',
  request: { params: modelParams, ...body(manifestSchema) },
  security,
  middleware,
  responses: { 200: json('the version, and the files to upload before the commit', begun), ...errors },
})

const committing = createRoute({
  method: 'put',
  path: '/models/{owner}/{name}/versions/{version}',
  summary: 'Publish an announced version as latest, once all of its files are uploaded',
  request: { params: exactVersionParams, ...body(commitBody, false) },
  security,
  middleware,
  responses: { 200: json('whether the model is new, changed or unchanged', committed), ...errors },
})

const removingVersion = createRoute({
  method: 'delete',
  path: '/models/{owner}/{name}/versions/{version}',
  summary: 'Unpublish a version; its files remain until the next garbage collection',
  request: { params: versionParams },
  security,
  middleware,
  responses: { 204: { description: 'unpublished' }, ...errors },
})

const removingModel = createRoute({
  method: 'delete',
  path: '/models/{owner}/{name}',
  summary: 'Unpublish a model with all its versions',
  request: { params: modelParams },
  security,
  middleware,
  responses: { 204: { description: 'unpublished' }, ...errors },
})

const aliasing = createRoute({
  method: 'put',
  path: '/models/{owner}/{name}/aliases/{alias}',
  summary: 'Point an alias at another version; moving `latest` back is a rollback',
  request: { params: aliasParams, ...body(aliasBody) },
  security,
  middleware,
  responses: { 200: json('the version that the alias now points at', aliased), ...errors },
})

const collecting = createRoute({
  method: 'post',
  path: '/collection',
  summary: 'Garbage collection: remove files that nothing references',
  request: { ...body(collectBody, false) },
  security,
  middleware,
  responses: { 200: json('the removed files', collected), ...errors },
})

const verifying = createRoute({
  method: 'post',
  path: '/verification',
  summary: 'Read a stored file completely and compare it with its hash',
  request: { ...body(verifyBody) },
  security,
  middleware,
  responses: { 200: json('the state of the file', verified), ...errors },
})

/** The routes of `/api` that change the registry. All of them require the token. */
export const publishing = new OpenAPIHono<Env>({ defaultHook: rejectInvalid })
  .openapi(beginning, async (c) => {
    const { owner, name } = c.req.valid('param')
    const manifest = c.req.valid('json')
    if (manifest.name !== `${owner}/${name}`) {
      throw new Problem(422, `Invalid manifest: expected the name ${owner}/${name}, got ${manifest.name}.`)
    }
    if (hasPreconditions(c)) {
      const record = await findRecord(c.var.host.storage, manifest.name)
      requirePreconditions(c, record && { etag: `"${recordTag(record)}"`, lastModified: null })
    }
    // The text as received, because its hash is the version.
    const { version, missing } = await begin(c.var.host.storage, await c.req.text())
    return c.json({ version, missing }, 200, { 'Cache-Control': 'no-store' })
  })
  .openapi(committing, async (c) => {
    const { owner, name, version } = c.req.valid('param')
    const { aliases = [] } = c.req.valid('json')
    const { storage, purge } = c.var.host
    const options = { check: versionPreconditions(c), purge }
    const change = await commit(storage, `${owner}/${name}`, version, aliases, options)
    c.header('ETag', `"${version}"`)
    return c.json({ change }, 200, { 'Cache-Control': 'no-store' })
  })
  .openapi(removingVersion, async (c) => {
    const { owner, name, version } = c.req.valid('param')
    const { storage, purge } = c.var.host
    await unpublish(storage, `${owner}/${name}`, version, { check: versionPreconditions(c), purge })
    return c.body(null, 204)
  })
  .openapi(removingModel, async (c) => {
    const { owner, name } = c.req.valid('param')
    const { storage, purge } = c.var.host
    await unpublish(storage, `${owner}/${name}`, undefined, { check: versionPreconditions(c), purge })
    return c.body(null, 204)
  })
  .openapi(aliasing, async (c) => {
    const { owner, name, alias } = c.req.valid('param')
    const version = await moveAlias(
      c.var.host.storage,
      `${owner}/${name}`,
      alias,
      c.req.valid('json').version,
      versionPreconditions(c),
    )
    c.header('ETag', `"${version}"`)
    return c.json({ version }, 200, { 'Cache-Control': 'no-store' })
  })
  .openapi(collecting, async (c) => {
    requirePreconditions(c, null)
    const { storage, purge } = c.var.host
    const result = await collectGarbage(storage, { ...c.req.valid('json'), purge })
    return c.json(result, 200, { 'Cache-Control': 'no-store' })
  })
  .openapi(verifying, async (c) => {
    requirePreconditions(c, null)
    const state = await verifyFile(c.var.host.storage, c.req.valid('json'))
    return c.json({ state }, 200, { 'Cache-Control': 'no-store' })
  })
