import { manifestSchema } from '@ddpm/shared'
import { createRoute, OpenAPIHono } from '@hono/zod-openapi'
import { bodyLimit } from 'hono/body-limit'
import { every } from 'hono/combine'
import { publishers } from '../http/guards.ts'
import type { Env } from '../http/host.ts'
import { Problem } from '../http/problem.ts'
import { collect } from '../registry/collection.ts'
import { moveAlias, unpublish } from '../registry/models.ts'
import { begin, commit } from '../registry/publishing.ts'
import { refuseInvalid } from './invalid.ts'
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
  versionParams,
} from './schemas.ts'

/** Manifests and other requests in JSON are small. */
const maxJsonBytes = 2 ** 20

const security = [{ token: [] }]
const body = <T>(schema: T) => ({ body: { required: true, content: { 'application/json': { schema } } } })
const small = bodyLimit({
  maxSize: maxJsonBytes,
  onError: () => {
    throw new Problem(413, `Found more than ${maxJsonBytes} bytes of JSON; expected less.`)
  },
})
const middleware = every(publishers, small)
const refusals = problems(401, 404, 405, 409, 413, 422)

const beginning = createRoute({
  method: 'post',
  path: '/models/{owner}/{name}/versions',
  summary: 'Announce a version, and learn which of its files are missing',
  request: { params: modelParams, ...body(manifestSchema) },
  security,
  middleware,
  responses: { 200: json('the version and the files to send first', begun), ...refusals },
})

const committing = createRoute({
  method: 'put',
  path: '/models/{owner}/{name}/versions/{version}',
  summary: 'Publish an announced version whose files are all there, as latest',
  request: { params: exactVersionParams, ...body(commitBody) },
  security,
  middleware,
  responses: { 200: json('what it did', committed), ...refusals },
})

const removingVersion = createRoute({
  method: 'delete',
  path: '/models/{owner}/{name}/versions/{version}',
  summary: 'Take back a version; its files stay until unused ones are removed',
  request: { params: versionParams },
  security,
  middleware,
  responses: { 204: { description: 'taken back' }, ...refusals },
})

const removingModel = createRoute({
  method: 'delete',
  path: '/models/{owner}/{name}',
  summary: 'Take back a model with all its versions',
  request: { params: modelParams },
  security,
  middleware,
  responses: { 204: { description: 'taken back' }, ...refusals },
})

const aliasing = createRoute({
  method: 'put',
  path: '/models/{owner}/{name}/aliases/{alias}',
  summary: 'Let an alias name another version; `latest` moved back is a rollback',
  request: { params: aliasParams, ...body(aliasBody) },
  security,
  middleware,
  responses: { 200: json('the version that it names now', aliased), ...refusals },
})

const collecting = createRoute({
  method: 'post',
  path: '/collection',
  summary: 'Remove files that nothing names any more',
  request: { ...body(collectBody) },
  security,
  middleware,
  responses: { 200: json('what was removed', collected), ...refusals },
})

/** The part of `/api` that changes things, for who has the token. */
export const publishing = new OpenAPIHono<Env>({ defaultHook: refuseInvalid })
  .openapi(beginning, async (c) => {
    const { owner, name } = c.req.valid('param')
    const manifest = c.req.valid('json')
    if (manifest.name !== `${owner}/${name}`) {
      throw new Problem(422, `Found the manifest of ${manifest.name}; expected that of ${owner}/${name}.`)
    }
    // The text and not the value: the version is its hash.
    const { version, missing } = await begin(c.var.host.storage, await c.req.text())
    return c.json({ version, missing }, 200, { 'Cache-Control': 'no-store' })
  })
  .openapi(committing, async (c) => {
    const { owner, name, version } = c.req.valid('param')
    const { aliases } = c.req.valid('json')
    const change = await commit(c.var.host.storage, `${owner}/${name}`, version, aliases)
    return c.json({ change }, 200, { 'Cache-Control': 'no-store' })
  })
  .openapi(removingVersion, async (c) => {
    const { owner, name, version } = c.req.valid('param')
    await unpublish(c.var.host.storage, `${owner}/${name}`, version)
    return c.body(null, 204)
  })
  .openapi(removingModel, async (c) => {
    const { owner, name } = c.req.valid('param')
    await unpublish(c.var.host.storage, `${owner}/${name}`)
    return c.body(null, 204)
  })
  .openapi(aliasing, async (c) => {
    const { owner, name, alias } = c.req.valid('param')
    const version = await moveAlias(
      c.var.host.storage,
      `${owner}/${name}`,
      alias,
      c.req.valid('json').version,
    )
    return c.json({ version }, 200, { 'Cache-Control': 'no-store' })
  })
  .openapi(collecting, async (c) => {
    const found = await collect(c.var.host.storage, c.req.valid('json'))
    return c.json(found, 200, { 'Cache-Control': 'no-store' })
  })
