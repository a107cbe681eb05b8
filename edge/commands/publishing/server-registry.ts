import { openAsBlob } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { type Manifest, UserError } from '@ddpm/shared'
import { hc } from 'hono/client'
import type { Api } from '../../server/app.ts'
import type { UploadedPart } from '../../server/registry/uploading.ts'
import type { RuntimeAsset } from '../hosting/runtime-files.ts'
import type { Registry } from './registry.ts'

/** Files up to this size go in one request, larger ones in parts of it. */
const partBytes = 16 * 2 ** 20
/** A request that fails on the way is sent so often, with a growing pause between. */
const attempts = 4

/**
 * The registry behind a server's upload routes.
 * @param url of the server
 * @param token what the server's secret PUBLISH_TOKEN is
 */
export function serverRegistry(url: string, token: string): Registry {
  const origin = new URL(url).origin
  const headers = { Authorization: `Bearer ${token}` }
  const api = hc<Api>(`${origin}/api`, { headers, fetch: patientFetch })
  const param = (name: string) => {
    const [owner, own] = name.split('/')
    return { owner: owner!, name: own! }
  }
  const model: Registry['model'] = async (name) => {
    const answer = await api.models[':owner'][':name'].versions.$get({ param: param(name) })
    return answer.status === 404 ? null : await ok(answer).then((found) => found.json())
  }

  return {
    place: `at ${origin}`,
    model,
    async *models() {
      let after: string | null = null
      do {
        const query: { limit: string; after?: string } = { limit: '100', ...(after !== null && { after }) }
        const page = await ok(await api.models.$get({ query })).then((found) => found.json())
        for (const { name } of page.models) {
          const found = await model(name)
          if (found !== null) yield found
        }
        after = page.next
      } while (after !== null)
    },
    async has({ sha256, bytes }) {
      const answer = await patientFetch(`${origin}/files/${sha256}`, { method: 'HEAD' })
      return answer.status === 200 && answer.headers.get('Content-Length') === String(bytes)
    },
    async begin(manifest: Manifest, text: string) {
      const { owner, name } = param(manifest.name)
      // Not through the client, which would write the manifest anew: its version is the hash of this text.
      const answer = await patientFetch(`${origin}/api/models/${owner}/${name}/versions`, {
        method: 'POST',
        headers: { ...headers, 'Content-Type': 'application/json' },
        body: text,
      })
      return (await (await ok(answer)).json()) as Awaited<ReturnType<Registry['begin']>>
    },
    send: (file, onBytes) => send(`${origin}/files/${file.sha256}`, headers, file, onBytes),
    async commit(name, version, aliases) {
      const body = { param: { ...param(name), version }, json: { aliases: [...aliases] } }
      const answer = await api.models[':owner'][':name'].versions[':version'].$put(body)
      return (await (await ok(answer)).json()).change
    },
    async moveAlias(name, alias, version) {
      const body = { param: { ...param(name), alias }, json: { version } }
      const answer = await api.models[':owner'][':name'].aliases[':alias'].$put(body)
      return (await (await ok(answer)).json()).version
    },
    async unpublish(name, version) {
      const of = api.models[':owner'][':name']
      const answer =
        version === undefined
          ? await of.$delete({ param: param(name) })
          : await of.versions[':version'].$delete({ param: { ...param(name), version } })
      await ok(answer)
    },
    async collect({ dryRun = false, keepDays = 1 }) {
      return await (await ok(await api.collection.$post({ json: { dryRun, keepDays } }))).json()
    },
    async close() {},
  }
}

async function send(
  url: string,
  headers: { Authorization: string },
  { path, bytes, mediaType }: RuntimeAsset,
  onBytes: (count: number) => void,
): Promise<void> {
  const content = await openAsBlob(path)
  const typed = { ...headers, 'Content-Type': mediaType }
  if (bytes <= partBytes) {
    await ok(await patientFetch(url, { method: 'PUT', headers: typed, body: content }))
    onBytes(bytes)
    return
  }
  const { parts } = (await (await ok(await patientFetch(`${url}/parts`, { headers }))).json()) as {
    parts: UploadedPart[]
  }
  for (let index = 0; index * partBytes < bytes; index++) {
    const part = content.slice(index * partBytes, (index + 1) * partBytes)
    // Sent by a run that was stopped. Whether its bytes are right shows in the hash of the whole.
    if (parts[index]?.index !== index || parts[index]?.bytes !== part.size) {
      await ok(await patientFetch(`${url}/parts/${index}`, { method: 'PUT', headers, body: part }))
    }
    onBytes(part.size)
  }
  await ok(await patientFetch(`${url}?bytes=${bytes}`, { method: 'POST', headers: typed }))
}

/** Fetches; again, after a pause, what failed on the way or found the server busy. */
async function patientFetch(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await fetch(input, init)
      if (answer.status < 500 || attempt === attempts) return answer
      await answer.body?.cancel()
    } catch (error) {
      if (attempt < attempts) continue
      const reason = (error as { cause?: Error }).cause?.message ?? (error as Error).message
      throw new UserError(
        `Could not reach ${new URL(String(input)).origin} (${reason}). Run the same command again.`,
      )
    } finally {
      if (attempt < attempts) await setTimeout(200 * 4 ** (attempt - 1))
    }
  }
}

/** Of the answers that the typed client knows, those that are a success. */
type Success<R> = [Extract<R, { ok: true }>] extends [never] ? R : Extract<R, { ok: true }>

/**
 * The answer, where it is a success.
 * @throws UserError with the server's explanation
 */
async function ok<R extends { ok: boolean; status: number; json(): Promise<unknown> }>(
  answer: R,
): Promise<Success<R>> {
  if (answer.ok) return answer as Success<R>
  const problem = (await answer.json().catch(() => ({}))) as { detail?: string }
  throw new UserError(problem.detail ?? `The server answered ${answer.status}.`)
}
