import { UserError } from '@ddpm/shared'
import { OpenAPIHono } from '@hono/zod-openapi'
import { type Context, Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { security, sharing } from './http/headers.ts'
import type { Env, Host } from './http/host.ts'
import { logging } from './http/logging.ts'
import { Problem, type ProblemStatus, problem } from './http/problem.ts'
import { type Reason, Refusal } from './registry/errors.ts'
import { assets } from './routes/assets.ts'
import { files } from './routes/files.ts'
import { health } from './routes/health.ts'
import { hub } from './routes/hub.ts'
import { models } from './routes/models.ts'
import { publishing } from './routes/publishing.ts'
import { Mismatch } from './storage/storage.ts'

/** `/api` as its description and its typed client know it. */
const api = new OpenAPIHono<Env>().route('/models', models).route('/', publishing)
export type Api = typeof api

api.openAPIRegistry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' })
const description = {
  openapi: '3.1.0',
  info: {
    title: 'ddpm',
    version: '1',
    description:
      'Diffusion models: what is published here, and how to publish. Files are at /files/{sha256}.',
  },
  servers: [{ url: '/api' }],
}

/**
 * Hands out models, the sampler and the page; browsers do the drawing.
 * @param hostOf what the app needs of the machine it runs on
 */
export function createApp(hostOf: (c: Context<Env>) => Host): Hono<Env> {
  const app = new Hono<Env>()
  app.use((c, next) => {
    c.set('host', hostOf(c))
    return next()
  })
  app.use(logging)
  app.use(sharing)
  app.use(security)
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) => {
        const headers = { Allow: [...methods, 'OPTIONS'].join(', '), 'Cache-Control': 'no-store' }
        if (c.req.method === 'OPTIONS') return c.body(null, 204, headers)
        return problem(
          c,
          405,
          `Found the method ${c.req.method}; expected one of: ${headers.Allow}.`,
          headers,
        )
      },
    }),
  )

  app.route('/api', api)
  app.get('/api/openapi.json', (c) =>
    c.json(api.getOpenAPI31Document(description), 200, { 'Cache-Control': 'no-store' }),
  )
  app.route('/files', files)
  app.route('/', hub)
  app.route('/', health)
  app.all('/api/*', (c) => problem(c, 404, `No such endpoint: "${c.req.path}"; models are at "/api/models".`))
  app.route('/', assets)

  app.notFound((c) => problem(c, 404, `Nothing is served at "${c.req.path}".`))
  app.onError((error, c) => {
    if (error instanceof Problem) return problem(c, error.status, error.message, error.headers)
    if (error instanceof Refusal)
      return problem(c, statuses[error.reason], error.message, retries(error.reason))
    if (error instanceof Mismatch || error instanceof UserError) return problem(c, 422, error.message)
    // What Hono itself refuses, such as JSON that is none.
    if (error instanceof HTTPException && error.status < 500) return problem(c, 400, error.message)
    return problem(c, 500, 'The server failed to answer; its log says why.')
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

function retries(reason: Reason): Record<string, string> {
  return reason === 'busy' ? { 'Retry-After': '30' } : {}
}
