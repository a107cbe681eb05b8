// The path of a request, top-down:
//
//   app.ts → routes/*.ts → http/deliver.ts (files) or registry/*.ts (models) → storage/*.ts
//
// `http/` contains protocol code only, `registry/` contains model code only. `storage/` contains an interface and its
// three implementations. Every function on this path may throw errors. `onError` below converts them to responses.
import { UserError } from '@ddpm/shared'
import { OpenAPIHono } from '@hono/zod-openapi'
import { type Context, Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { crossOriginSharing, securityHeaders } from './http/headers.ts'
import type { Env, Host } from './http/host.ts'
import { logging } from './http/logging.ts'
import { Problem, type ProblemStatus, problemResponse } from './http/problem.ts'
import { type Reason, RegistryError } from './registry/errors.ts'
import { assets } from './routes/assets.ts'
import { description } from './routes/description.ts'
import { files } from './routes/files.ts'
import { health } from './routes/health.ts'
import { hub } from './routes/hub.ts'
import { models } from './routes/models.ts'
import { notFoundResponse } from './routes/not-found.ts'
import { publishing } from './routes/publishing.ts'
import { ContentMismatch, StorageFull } from './storage/storage.ts'

/** The routes of `/api` that have schemas, for the OpenAPI description and the typed client. */
const api = new OpenAPIHono<Env>().route('/models', models).route('/', publishing)
export type Api = typeof api

api.openAPIRegistry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' })
const openapi = {
  openapi: '3.1.0',
  info: {
    title: 'ddpm',
    version: '1',
    description:
      'Diffusion models: list, download and publish them. Files are served at /files/{sha256}, outside /api.',
  },
  servers: [{ url: '/api' }],
}

/** Shared by all apps of this process or isolate, so that the description is built once. */
const openapiDescription = description(() => api.getOpenAPI31Document(openapi))

/**
 * Creates the server: it serves models, the sampler module and the page. Images are generated in the browser.
 * @param getHost returns the host's services for one request
 */
export function createApp(getHost: (c: Context<Env>) => Host): Hono<Env> {
  const app = new Hono<Env>()
  app.use((c, next) => {
    c.set('host', getHost(c))
    return next()
  })
  app.use(logging)
  app.use(crossOriginSharing)
  app.use(securityHeaders)
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) => {
        const headers = { Allow: [...methods, 'OPTIONS'].join(', '), 'Cache-Control': 'no-store' }
        if (c.req.method === 'OPTIONS') return c.body(null, 204, headers)
        return problemResponse(
          c,
          405,
          `Method ${c.req.method} is not allowed here: expected one of ${headers.Allow}.`,
          headers,
        )
      },
    }),
  )

  // Before our own API, because one client of the hub gets other responses at two of its paths.
  app.route('/', hub)
  app.route('/api', api)
  app.route('/', openapiDescription)
  app.route('/files', files)
  app.route('/', health)
  app.all('/api/*', (c) =>
    problemResponse(c, 404, `Unknown endpoint "${c.req.path}". Models are listed at "/api/models".`),
  )
  app.route('/', assets)

  app.notFound((c) => notFoundResponse(c, `Nothing is served at "${c.req.path}".`))
  app.onError((error, c) => {
    if (error instanceof Problem) return problemResponse(c, error.status, error.message, error.headers)
    if (error instanceof RegistryError)
      return problemResponse(c, statuses[error.reason], error.message, retryHeaders(error.reason))
    if (error instanceof StorageFull) return problemResponse(c, 507, error.message)
    if (error instanceof ContentMismatch || error instanceof UserError)
      return problemResponse(c, 422, error.message)
    // Errors that Hono raises itself, for example for malformed JSON.
    if (error instanceof HTTPException && error.status === 415) {
      const type = c.req.header('Content-Type') ?? ''
      return problemResponse(c, 415, `Invalid Content-Type "${type}": expected application/json.`)
    }
    if (error instanceof HTTPException && error.status < 500) return problemResponse(c, 400, error.message)
    return problemResponse(c, 500, 'Internal server error. The server log contains the details.')
  })
  return app
}

const statuses: { [R in Reason]: ProblemStatus } = {
  'unknown model': 404,
  'unknown version': 404,
  invalid: 422,
  'missing files': 409,
  conflict: 409,
  busy: 503,
}

function retryHeaders(reason: Reason): Record<string, string> {
  return reason === 'busy' ? { 'Retry-After': '30' } : {}
}
