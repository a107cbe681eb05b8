import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Metadata {
  readonly bindings: { name: string; type: string; text?: string }[]
  readonly limits?: object
}

/** An account of a fake Cloudflare API, which has the endpoints that wrangler uses. */
export interface Account {
  /** Environment variables that make commands use the fake API. */
  readonly env: Record<string, string>
  readonly buckets: Set<string>
  /** Stored objects by `bucket/key`. */
  readonly objects: Map<string, { type: string | undefined; content: Buffer }>
  /** Metadata of each uploaded Worker. */
  readonly workers: Map<string, Metadata>
  /** All requests with a method other than GET, in order. */
  readonly changes: string[]
  close(): Promise<void>
}

/** Starts the fake API with an empty account on the free plan. */
export async function startAccount(): Promise<Account> {
  const buckets = new Set<string>()
  const objects: Account['objects'] = new Map()
  const workers: Account['workers'] = new Map()
  const changes: string[] = []
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray())
    const { method } = request
    const path = request.url!.replace(/\?.*/, '').replace(/^\/accounts\/me/, '')
    if (method !== 'GET' && path !== '/graphql') changes.push(`${method} ${path}`)
    const respond = (status: number, result: object | null, errors: object[] = []) => {
      response.writeHead(status, { 'Content-Type': 'application/json' })
      response.end(JSON.stringify({ success: status === 200, result, errors, messages: [] }))
    }
    const respondNotFound = (code: number, message: string) => respond(404, null, [{ code, message }])

    const [, bucket, key] = /^\/r2\/buckets\/([^/]+)(?:\/objects\/(.*))?$/.exec(path) ?? []
    if (path === '/r2/buckets' && method === 'POST') {
      buckets.add((JSON.parse(body.toString()) as { name: string }).name)
      return respond(200, {})
    }
    if (bucket !== undefined) {
      if (!buckets.has(bucket)) return respondNotFound(10006, 'The specified bucket does not exist.')
      const bucketInfo = {
        name: bucket,
        creation_date: '2026-01-01',
        location: 'WEUR',
        storage_class: 'Standard',
      }
      if (key === undefined) return respond(200, bucketInfo)
      if (method === 'PUT') {
        objects.set(`${bucket}/${key}`, { type: request.headers['content-type'], content: body })
        return respond(200, {})
      }
      const stored = objects.get(`${bucket}/${key}`)
      if (stored === undefined) return respondNotFound(10007, 'No such key.')
      return response.end(stored.content)
    }
    if (path === '/graphql') return respond(200, { viewer: { accounts: [] } })

    const [, name, rest = ''] = /^\/workers\/(?:scripts|services|workers)\/([^/]+)(\/.*)?$/.exec(path) ?? []
    if (name !== undefined) {
      if (rest === '/assets-upload-session') return respond(200, { jwt: 'jwt', buckets: [] })
      // Wrangler creates a Worker with the first request, and updates it with the second.
      if ((rest === '' && method === 'PUT') || (rest === '/versions' && method === 'POST')) {
        const json = /\{"main_module".*\}(?=\r\n)/.exec(body.toString('latin1'))![0]
        const metadata = JSON.parse(json) as Metadata
        if (metadata.limits) {
          return respond(400, null, [
            { code: 100328, message: 'CPU limits are not available on the free plan.' },
          ])
        }
        // Secrets remain until they are replaced.
        const secrets = workers.get(name)?.bindings.filter(({ type }) => type === 'secret_text') ?? []
        const names = new Set(metadata.bindings.map((binding) => binding.name))
        metadata.bindings.push(...secrets.filter((secret) => !names.has(secret.name)))
        workers.set(name, metadata)
        const version = { id: 'version', startup_time_ms: 5, resources: { script: { etag: 'x' } } }
        return respond(200, { ...version, etag: 'x', entry_point: 'worker.js' })
      }
      if (rest === '/deployments') return respond(200, { deployments: [] })
      if (rest === '/subdomain') return respond(200, { enabled: true, previews_enabled: false })
      if (rest === '/script-settings' || rest === '/routes' || rest === '/domains/records')
        return respond(200, {})
      if (rest === '/domains/changeset') {
        return respond(200, { added: [], removed: [], updated: [], conflicting: [] })
      }
      if (!workers.has(name)) return respondNotFound(10007, 'This Worker does not exist on your account.')
      if (rest === '/secrets') {
        const secrets = workers.get(name)!.bindings.filter(({ type }) => type === 'secret_text')
        return respond(
          200,
          secrets.map(({ name, type }) => ({ name, type })),
        )
      }
      const script = { tag: 'tag', tags: [], last_deployed_from: 'wrangler' }
      const default_environment = { environment: 'production', script }
      const subdomain = { enabled: true, previews_enabled: false }
      return respond(200, { id: name, name, subdomain, tags: [], bindings: [], script, default_environment })
    }
    if (path === '/workers/subdomain') return respond(200, { subdomain: 'ada' })
    return respondNotFound(10000, `The fake API does not implement ${method} ${path}.`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const env = {
    CLOUDFLARE_API_BASE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    CLOUDFLARE_API_TOKEN: 'token',
    CLOUDFLARE_ACCOUNT_ID: 'me',
  }
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()))
  return { env, buckets, objects, workers, changes, close }
}
