import { Hono } from 'hono'
import { methodNotAllowed } from 'hono/method-not-allowed'
import type { Env } from './bindings.ts'
import { security, sharing } from './headers.ts'
import { problem } from './problem.ts'
import { assets } from './routes/assets.ts'
import { files } from './routes/files.ts'
import { models } from './routes/models.ts'

/** Hands out models, the sampler and the page; browsers do the drawing. */
const app = new Hono<Env>()

app.use(sharing)
app.use(security)
app.use(
  methodNotAllowed({
    app,
    onMethodNotAllowed: (c, methods) =>
      problem(c, 405, `Found the method ${c.req.method}; expected one of: ${methods.join(', ')}.`, {
        Allow: methods.join(', '),
      }),
  }),
)

app.route('/api/models', models)
app.route('/files', files)
app.all('/api/*', (c) => problem(c, 404, `No such endpoint: "${c.req.path}"; models are at "/api/models".`))
app.route('/', assets)

app.notFound((c) => problem(c, 404, `Nothing is served at "${c.req.path}".`))
app.onError((error, c) => {
  console.error(error)
  return problem(c, 500, 'The server failed to answer; its log says why.')
})

export default app
