// Deploys to Cloudflare with `npm run deploy` and the real wrangler, against a fake Cloudflare API.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { DeployedWorker } from '../../edge/commands/hosting/deploy-worker.ts'
import { serveOnWorkerd } from '../../edge/commands/hosting/workerd.ts'
import { importWrangler } from '../../edge/commands/hosting/wrangler.ts'
import { keys } from '../../edge/server/registry/keys.ts'
import { type Account, startAccount } from '../support/cloudflare.ts'
import { command } from '../support/command.ts'
import { writeExported } from '../support/exported.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

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

/** Writes a copy of wrangler.toml with additional top-level settings and tables, and returns its path. */
async function writeConfig(name: string, settings: string, tables = ''): Promise<string> {
  const text = await readFile(join(root, 'wrangler.toml'), 'utf8')
  const path = join(folder, `${name}.toml`)
  const absolute = text.replaceAll('"edge/', `"${root}edge/`)
  await writeFile(path, `${settings}\n${absolute}\n${tables}\n`)
  return path
}

const secretOf = (worker: string) =>
  account.workers.get(worker)?.bindings.find(({ name }) => name === 'PUBLISH_TOKEN')?.text

/**
 * Deploys the Worker in another process, without building the page again.
 * @param options options of `deployWorker`, as JavaScript
 * @throws Error with the standard error
 */
async function deploy(changes: Record<string, string>, options = '{}'): Promise<DeployedWorker> {
  const module = new URL('../../edge/commands/hosting/deploy-worker.ts', import.meta.url).href
  const code = `
    import { deployWorker } from ${JSON.stringify(module)}
    console.log(JSON.stringify(await deployWorker('production', ${options})))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    env: { ...process.env, ...env, ...changes },
  })
  const errors = child.stderr.setEncoding('utf8').toArray()
  const output = (await child.stdout.setEncoding('utf8').toArray()).join('')
  if (output === '') throw new Error((await errors).join(''))
  return JSON.parse(output)
}

const savedIn = async (path: string) => JSON.parse(await readFile(path, 'utf8')).production

test('with a custom domain, the address and the token are saved, and the token survives the next deployment', {
  timeout: 300_000,
}, async () => {
  account.buckets.add('ddpm-models')
  const config = await writeConfig(
    'custom-domain',
    'routes = [{ pattern = "models.example", custom_domain = true }]',
    // wrangler prints variables before the address of the Worker.
    '[vars]\nDOCUMENTATION = "https://another.example"',
  )
  const path = join(folder, 'custom.json')
  const custom = { DDPM_WRANGLER_CONFIG: config, DDPM_DEPLOYMENTS: path }
  const url = 'https://models.example'
  assert.deepEqual(await deploy(custom), { url, tokenStatus: 'created' })
  const token = secretOf('ddpm')!
  assert.deepEqual(await savedIn(path), { url, token })
  assert.deepEqual(await deploy(custom), { url, tokenStatus: 'unchanged' })
  assert.equal(secretOf('ddpm'), token)
  assert.deepEqual(await savedIn(path), { url, token })
})

test('a deployment to staging does not take over the custom domain', async () => {
  const { unstable_readConfig } = await importWrangler()
  const routes = 'routes = [{ pattern = "models.example", custom_domain = true }]'
  const config = await writeConfig('staging', routes)
  assert.deepEqual(unstable_readConfig({ config, env: 'staging' }).routes, [])
})

test('another checkout keeps the token of the Worker, or replaces it with --new-token', {
  timeout: 300_000,
}, async () => {
  const token = secretOf('ddpm')!
  const path = join(folder, 'other.json')
  const kept = await deploy({ DDPM_DEPLOYMENTS: path })
  assert.match(kept.tokenStatus, /^kept; .*--new-token$/)
  assert.equal(secretOf('ddpm'), token)
  const replaced = await deploy({ DDPM_DEPLOYMENTS: path }, '{ newToken: true }')
  assert.equal(replaced.tokenStatus, 'replaced')
  assert.notEqual(secretOf('ddpm'), token)
  assert.equal((await savedIn(path)).token, secretOf('ddpm'))
})

test('without any address, the first token is saved, and publish --remote explains what to do', {
  timeout: 300_000,
}, async () => {
  account.workers.clear()
  const config = await writeConfig('no-address', 'workers_dev = false')
  const hidden = { ...env, DDPM_WRANGLER_CONFIG: config, DDPM_DEPLOYMENTS: join(folder, 'hidden.json') }
  assert.deepEqual(await deploy(hidden), { url: null, tokenStatus: 'created' })
  assert.deepEqual(await savedIn(hidden.DDPM_DEPLOYMENTS), { url: null, token: secretOf('ddpm') })
  const listed = await command(['publish', 'list', '--remote'], hidden)
  assert.match(
    listed.stderr,
    /^Cannot publish with --remote: wrangler reported no address[^\n]*--to[^\n]*\n$/,
  )
})

test("Cloudflare's build machines create no token, because it would be lost", {
  timeout: 300_000,
}, async () => {
  account.workers.clear()
  const path = join(folder, 'build.json')
  const { tokenStatus } = await deploy({ WORKERS_CI: '1', DDPM_DEPLOYMENTS: path })
  assert.match(tokenStatus, /^none\. Set the secret PUBLISH_TOKEN/)
  assert.equal(secretOf('ddpm'), undefined)
  await assert.rejects(readFile(path))
})

test('a CPU limit on the free plan is an error that names the setting', { timeout: 300_000 }, async () => {
  const config = await writeConfig('limits', '', '[limits]\ncpu_ms = 2000')
  await assert.rejects(
    deploy({ DDPM_WRANGLER_CONFIG: config, DDPM_DEPLOYMENTS: join(folder, 'limits.json') }),
    /UserError: Cloudflare's free plan does not allow CPU limits\. Remove the block/,
  )
})

test('the button "Deploy to Cloudflare" finds a bucket, a deploy script and the secret', async () => {
  const { unstable_readConfig } = await importWrangler()
  const { r2_buckets, name } = unstable_readConfig({ config: join(root, 'wrangler.toml') })
  assert.equal(name, 'ddpm')
  assert.deepEqual(
    r2_buckets.map(({ binding, bucket_name }: { binding: string; bucket_name?: string }) => [
      binding,
      bucket_name,
    ]),
    [['MODELS', 'ddpm-models']],
  )
  const { scripts, cloudflare } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  assert.ok(scripts.deploy)
  assert.deepEqual(Object.keys(cloudflare.bindings), ['MODELS', 'PUBLISH_TOKEN'])
  assert.match(await readFile(join(root, '.dev.vars.example'), 'utf8'), /^PUBLISH_TOKEN=$/m)
})

test('without an account, deploy explains how to log in', async () => {
  const nobody = { CLOUDFLARE_API_TOKEN: '', HOME: folder, XDG_CONFIG_HOME: folder }
  const { status, stderr } = await command(['deploy'], nobody)
  assert.equal(status, 1)
  assert.match(stderr, /^Not logged in to Cloudflare. Run "npx wrangler login"[^\n]*\n$/)
})

test('deploy --dry-run needs no account and prints no warnings, and the documented size is right', async () => {
  const document = await readFile(join(root, 'docs/publishing.md'), 'utf8')
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
    const [, size, gzipped] = /Total Upload: ([\d.]+) KiB \/ gzip: ([\d.]+) KiB/.exec(stdout)!
    const documented = /The Worker is (\d+) KiB, and (\d+) KiB gzipped/.exec(document)!
    for (const [i, measured] of [size, gzipped].entries()) {
      const ratio = Number(documented[i + 1]) / Number(measured)
      assert.ok(ratio > 0.9 && ratio < 1.1, `docs/publishing.md: ${documented[0]}; measured ${measured} KiB`)
    }
  }
})
