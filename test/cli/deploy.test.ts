// Deploys to Cloudflare with `npm run deploy` and the real wrangler, against a fake Cloudflare API.
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { serveOnWorkerd } from '../../edge/commands/hosting/workerd.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { type Account, startAccount } from '../support/cloudflare.ts'
import { command } from '../support/command.ts'
import { writeExported } from '../support/exported.ts'

let folder: string
let account: Account
let env: Record<string, string>

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ddpm-remote-'))
  account = await startAccount()
  env = { ...account.env, DDPM_DEPLOYMENTS: join(folder, 'deployments.json') }
})

after(async () => {
  await account?.close()
  await rm(folder, { recursive: true, force: true })
})

test('deploy creates what is missing and reports it; a second deployment uploads only the Worker', {
  timeout: 300_000,
}, async () => {
  const first = await command(['deploy', '--env', 'staging'], env)
  assert.deepEqual(first, {
    status: 0,
    stdout: [
      'Bucket ddpm-models-staging: created.',
      'onnxruntime files: uploaded 3, each uncompressed and compressed.',
      'Worker: deployed to https://ddpm-staging.ada.workers.dev. Publish token: created.',
      '',
    ].join('\n'),
    stderr: '',
  })
  const sent = account.changes.filter((change) => change.startsWith('PUT /r2/'))
  const worker = account.changes.indexOf('PUT /workers/scripts/ddpm-staging')
  assert.ok(
    worker > account.changes.lastIndexOf(sent.at(-1)!),
    'the files are uploaded before the page that loads them',
  )

  const stored = (key: string) => account.objects.get(`ddpm-models-staging/${key}`)!
  const runtime = JSON.parse(stored(keys.runtime).content.toString()) as { sha256: string; sent: boolean }[]
  assert.equal(runtime.length, 3)
  assert.equal(account.objects.size, 1 + 3 * 3)
  for (const { sha256, sent } of runtime) {
    assert.ok(sent)
    const { content, type } = stored(keys.file(sha256))
    assert.equal(type, 'application/wasm')
    assert.ok(brotliDecompressSync(stored(keys.variant(sha256, 'br')).content).equals(content))
    assert.ok(gunzipSync(stored(keys.variant(sha256, 'gzip')).content).equals(content))
  }

  const bindings = account.workers.get('ddpm-staging')!.bindings
  const names = bindings.map(({ name, type }) => `${name} ${type}`).sort()
  assert.deepEqual(names, [
    'ASSETS assets',
    'LISTS ratelimit',
    'MODELS r2_bucket',
    'PUBLISH_TOKEN secret_text',
    'READS ratelimit',
  ])
  const path = env['DDPM_DEPLOYMENTS']!
  const { staging } = JSON.parse(await readFile(path, 'utf8'))
  assert.equal(staging.token, bindings.find(({ name }) => name === 'PUBLISH_TOKEN')!.text)
  assert.equal(Buffer.from(staging.token, 'base64url').length, 32)
  if (process.platform !== 'win32') assert.equal((await stat(path)).mode & 0o777, 0o600)

  account.changes.length = 0
  const second = await command(['deploy', '--env', 'staging'], env)
  assert.match(second.stdout, /: exists\.\nonnxruntime files: exist\.\nWorker: .*Publish token: unchanged\./)
  assert.deepEqual(
    account.changes.filter((change) => change.startsWith('PUT /r2/')),
    [],
  )
})

test('publish --remote uses the Worker that was deployed from this checkout, and its token', async () => {
  const exported = join(folder, 'export')
  await writeExported(exported, 'ada/shapes', { graph: 100_000 })
  const unknown = await command(['publish', exported, '--remote', '--env', 'production'], env)
  assert.equal(unknown.status, 1)
  assert.match(
    unknown.stderr,
    /no production Worker was deployed from this checkout\. Run "npm run deploy"[^\n]*--to[^\n]*\n$/,
  )

  const worker = await serveOnWorkerd({
    port: 0,
    persistTo: join(folder, 'state'),
    quiet: true,
    publishToken: 'the right publish token',
  })
  const deployed = (token: string) =>
    writeFile(env['DDPM_DEPLOYMENTS']!, JSON.stringify({ production: { url: worker.url, token } }))
  try {
    await deployed('wrong')
    assert.match((await command(['publish', exported, '--remote'], env)).stderr, /invalid token/)
    await deployed('the right publish token')
    const host = new URL(worker.url).host
    const { stdout, stderr } = await command(['publish', exported, '--remote'], env)
    assert.match(
      stdout,
      new RegExp(`^Published ada/shapes on Cloudflare \\(${host}\\), version [0-9a-f]{12}\\.\\n$`),
      stderr,
    )
    assert.match((await command(['publish', 'list', '--remote'], env)).stdout, /^ada\/shapes\n/)
  } finally {
    await worker.stop()
  }
})

test('without an account, deploy explains how to log in', async () => {
  const nobody = { CLOUDFLARE_API_TOKEN: '', HOME: folder, XDG_CONFIG_HOME: folder }
  const { status, stderr } = await command(['deploy'], nobody)
  assert.equal(status, 1)
  assert.match(stderr, /^Not logged in to Cloudflare. Run "npx wrangler login"[^\n]*\n$/)
})

test('deploy --dry-run needs no account and prints no warnings', async () => {
  for (const [name, bucket] of [
    ['production', 'ddpm-models'],
    ['staging', 'ddpm-models-staging'],
  ]) {
    const { status, stdout, stderr } = await command(['deploy', '--dry-run', '--env', name!], {
      HOME: folder,
    })
    assert.deepEqual([status, stderr], [0, ''])
    for (const binding of [`env.MODELS (${bucket})`, 'env.ASSETS', 'env.LISTS', 'env.READS']) {
      assert.ok(stdout.includes(binding), `${binding} in ${stdout}`)
    }
  }
})
