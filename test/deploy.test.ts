// Publishing to Cloudflare: our commands and the real wrangler, against a stand-in for Cloudflare's API.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { formatManifest } from '@ddpm/shared'
import { ensureRemoteBucket, remoteBucket } from '../edge/commands/bucket.ts'
import { command } from './support/command.ts'
import { writeExported } from './support/exported.ts'

let folder: string
let server: Server
let env: Record<string, string>

/** The account: whether it has the bucket, what is in it, and every request that changed something. */
const account = {
  bucket: false,
  objects: new Map<string, { type: string | undefined; content: Buffer }>(),
  changes: [] as string[],
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ddpm-remote-'))
  server = createServer(async (request, response) => {
    const { method, url = '' } = request
    const body = Buffer.concat(await request.toArray())
    if (method !== 'GET') account.changes.push(`${method} ${url}`)
    const answer = (status: number, result: object | null, errors: object[] = []) => {
      response.writeHead(status, { 'Content-Type': 'application/json' })
      response.end(JSON.stringify({ success: status === 200, result, errors, messages: [] }))
    }
    const missing = () =>
      answer(404, null, [{ code: 10006, message: 'The specified bucket does not exist.' }])
    const key = /^\/accounts\/me\/r2\/buckets\/ddpm-models\/objects\/(.*)$/.exec(url)?.[1]
    if (key !== undefined) {
      const stored = account.objects.get(key)
      if (!account.bucket) missing()
      else if (method === 'PUT') {
        account.objects.set(key, { type: request.headers['content-type'], content: body })
        answer(200, {})
      } else if (stored === undefined) answer(404, null, [{ code: 10007, message: 'No such key.' }])
      else response.end(stored.content)
    } else if (url === '/accounts/me/r2/buckets' && method === 'POST') {
      account.bucket = true
      answer(200, {})
    } else if (url === '/accounts/me/r2/buckets/ddpm-models' && account.bucket) {
      answer(200, {
        name: 'ddpm-models',
        creation_date: '2026-01-01',
        location: 'WEUR',
        storage_class: 'Standard',
      })
    } else if (url === '/graphql') answer(200, { viewer: { accounts: [] } })
    else missing()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  env = {
    CLOUDFLARE_API_BASE_URL: `http://127.0.0.1:${port}`,
    CLOUDFLARE_API_TOKEN: 'token',
    CLOUDFLARE_ACCOUNT_ID: 'me',
  }
})

after(async () => {
  server.close()
  await rm(folder, { recursive: true, force: true })
})

test('publish --remote: objects first, manifest last; twice changes nothing', async () => {
  const { manifest, contents } = await writeExported(folder, 'ada/shapes', { graph: 100_000 })
  const publish = () => command(['publish', folder, '--remote'], env)

  Object.assign(process.env, env)
  const bucket = await remoteBucket()
  await assert.rejects(
    bucket.putText('key', 'text'),
    /bucket .* does not exist on Cloudflare yet. "npm run deploy"/,
  )
  assert.equal(await ensureRemoteBucket(), 'created')
  assert.equal(await ensureRemoteBucket(), 'there')

  account.changes.length = 0
  const first = await publish()
  assert.deepEqual(first, { status: 0, stdout: 'Published ada/shapes on Cloudflare.\n', stderr: '' })
  const file = `files/${manifest.files[0]!.sha256}`
  const objects = '/accounts/me/r2/buckets/ddpm-models/objects'
  const sent = [`PUT ${objects}/${file}`, `PUT ${objects}/models/ada/shapes.json`]
  assert.deepEqual(account.changes, sent)
  assert.equal(account.objects.get(file)?.type, 'application/octet-stream')
  assert.ok(account.objects.get(file)?.content.equals(contents[0]!))
  assert.equal(account.objects.get('models/ada/shapes.json')?.content.toString(), formatManifest(manifest))

  const second = await publish()
  assert.equal(second.stdout, 'ada/shapes is already published on Cloudflare; nothing changed.\n')
  assert.deepEqual(account.changes, sent)
})

test('without an account, --remote and deploy say how to log in', async () => {
  const nobody = { CLOUDFLARE_API_TOKEN: '', HOME: folder, XDG_CONFIG_HOME: folder }
  await writeExported(folder, 'ada/shapes', { graph: 100 })
  for (const args of [['publish', folder, '--remote'], ['deploy']]) {
    const { status, stderr } = await command(args, nobody)
    assert.equal(status, 1)
    assert.match(stderr, /^Not logged in to Cloudflare. Run "npx wrangler login"[^\n]*\n$/)
  }
})

test('deploy --dry-run needs no account and complains of nothing', async () => {
  const { status, stdout, stderr } = await command(['deploy', '--dry-run'], { HOME: folder })
  assert.deepEqual([status, stderr], [0, ''])
  assert.match(stdout, /env\.MODELS \(ddpm-models\)/)
  assert.match(stdout, /env\.ASSETS/)
})
