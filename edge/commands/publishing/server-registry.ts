import { openAsBlob } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { type Manifest, UserError } from '@ddpm/shared'
import { hc } from 'hono/client'
import type { Api } from '../../server/app.ts'
import type { UploadedPart } from '../../server/registry/uploading.ts'
import type { ExportedFile } from './exported.ts'
import type { Registry } from './registry.ts'

/** Files up to this size are sent in one request, larger files in parts of this size. */
const partBytes = 16 * 2 ** 20
/** Maximum number of attempts per request, with exponential backoff. */
const maxAttempts = 4

/**
 * Opens the registry of a server through its HTTP API.
 * @param url address of the server
 * @param token the server's secret PUBLISH_TOKEN
 */
export function serverRegistry(url: string, token: string): Registry {
  const origin = new URL(url).origin
  const headers = { Authorization: `Bearer ${token}` }
  const api = hc<Api>(`${origin}/api`, { headers, fetch: fetchWithRetry })
  const splitName = (fullName: string) => {
    const [owner, name] = fullName.split('/')
    return { owner: owner!, name: name! }
  }
  const model: Registry['model'] = async (name) => {
    const response = await api.models[':owner'][':name'].versions.$get({ param: splitName(name) })
    return response.status === 404 ? null : await expectOk(response).then((response) => response.json())
  }

  return {
    place: `at ${origin}`,
    model,
    async *models() {
      let after: string | null = null
      do {
        const query: { limit: string; after?: string } = { limit: '100', ...(after !== null && { after }) }
        const page = await expectOk(await api.models.$get({ query })).then((response) => response.json())
        for (const { name } of page.models) {
          const published = await model(name)
          if (published !== null) yield published
        }
        after = page.next
      } while (after !== null)
    },
    async has({ sha256, bytes }) {
      const response = await fetchWithRetry(`${origin}/files/${sha256}`, { method: 'HEAD' })
      return response.status === 200 && response.headers.get('Content-Length') === String(bytes)
    },
    async verify({ sha256, bytes }) {
      const response = await api.verification.$post({ json: { sha256, bytes } })
      return (await (await expectOk(response)).json()).state
    },
    async begin(manifest: Manifest, text: string) {
      const { owner, name } = splitName(manifest.name)
      // Not through the typed client, which would serialise the manifest again: the version is the hash of this text.
      const response = await fetchWithRetry(`${origin}/api/models/${owner}/${name}/versions`, {
        method: 'POST',
        headers: { ...headers, 'Content-Type': 'application/json' },
        body: text,
      })
      return (await (await expectOk(response)).json()) as Awaited<ReturnType<Registry['begin']>>
    },
    send: (file, onBytes) => send(`${origin}/files/${file.sha256}`, headers, file, onBytes),
    async commit(name, version, aliases) {
      const body = { param: { ...splitName(name), version }, json: { aliases: [...aliases] } }
      const response = await api.models[':owner'][':name'].versions[':version'].$put(body)
      return (await (await expectOk(response)).json()).change
    },
    async moveAlias(name, alias, version) {
      const body = { param: { ...splitName(name), alias }, json: { version } }
      const response = await api.models[':owner'][':name'].aliases[':alias'].$put(body)
      return (await (await expectOk(response)).json()).version
    },
    async unpublish(name, version) {
      const route = api.models[':owner'][':name']
      const response =
        version === undefined
          ? await route.$delete({ param: splitName(name) })
          : await route.versions[':version'].$delete({ param: { ...splitName(name), version } })
      await expectOk(response)
    },
    async collect({ dryRun = false, keepDays = 1 }) {
      return await (await expectOk(await api.collection.$post({ json: { dryRun, keepDays } }))).json()
    },
    async close() {},
  }
}

async function send(
  url: string,
  headers: { Authorization: string },
  { path, bytes, mediaType }: ExportedFile,
  onBytes: (count: number) => void,
): Promise<void> {
  const content = await openAsBlob(path)
  const typed = { ...headers, 'Content-Type': mediaType }
  if (bytes <= partBytes) {
    await expectOk(await fetchWithRetry(url, { method: 'PUT', headers: typed, body: content }))
    onBytes(bytes)
    return
  }
  const { parts } = (await (await expectOk(await fetchWithRetry(`${url}/parts`, { headers }))).json()) as {
    parts: UploadedPart[]
  }
  for (let index = 0; index * partBytes < bytes; index++) {
    const part = content.slice(index * partBytes, (index + 1) * partBytes)
    // An interrupted run may have sent this part. Its content is verified by the hash of the assembled file.
    if (parts[index]?.index !== index || parts[index]?.bytes !== part.size) {
      await expectOk(await fetchWithRetry(`${url}/parts/${index}`, { method: 'PUT', headers, body: part }))
    }
    onBytes(part.size)
  }
  await expectOk(await fetchWithRetry(`${url}?bytes=${bytes}`, { method: 'POST', headers: typed }))
}

/** Fetches, and retries after network errors, 5xx responses, and above the server's rate limit. */
async function fetchWithRetry(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    let seconds = 0
    try {
      const response = await fetch(input, init)
      const { status } = response
      // A full disk (507) stays full.
      const temporary = status === 429 || (status >= 500 && status !== 507)
      if (!temporary || attempt === maxAttempts) return response
      if (status === 429) seconds = Number(response.headers.get('Retry-After') ?? 0)
      await response.body?.cancel()
    } catch (error) {
      if (attempt === maxAttempts) {
        const reason = (error as { cause?: Error }).cause?.message ?? (error as Error).message
        throw new UserError(
          `Cannot reach ${new URL(String(input)).origin} (${reason}). ` +
            'Check the address and the network, then run the same command again.',
        )
      }
    }
    await setTimeout(Math.max(200 * 4 ** (attempt - 1), Math.min(seconds, 60) * 1000))
  }
}

/** The types of successful responses among all response types of a route. */
type Success<R> = [Extract<R, { ok: true }>] extends [never] ? R : Extract<R, { ok: true }>

/**
 * Returns the response if it is successful.
 * @throws UserError with the detail of the server's problem response
 */
async function expectOk<R extends { ok: boolean; status: number; json(): Promise<unknown> }>(
  response: R,
): Promise<Success<R>> {
  if (response.ok) return response as Success<R>
  const problem = (await response.json().catch(() => ({}))) as { detail?: string }
  throw new UserError(problem.detail ?? `The server responded with status ${response.status}.`)
}
