// Publishing over HTTP to each host: the commands' client, and invalid or unauthorised requests.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { formatManifest } from '@ddpm/shared'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import type { Registry } from '../../edge/commands/publishing/registry.ts'
import { serverRegistry } from '../../edge/commands/publishing/server-registry.ts'
import { command } from '../support/command.ts'
import { writeExported } from '../support/exported.ts'
import type { Reply } from './check.ts'
import { hosts, type RunningHost, request } from './hosts.ts'

const publishToken = 'the correct publish token'
const authorized = { Authorization: `Bearer ${publishToken}` }

for (const [name, start] of Object.entries(hosts)) {
  describe(`publishing over HTTP: ${name}`, () => {
    let host: RunningHost
    let registry: Registry
    let folder: string
    before(async () => {
      host = await start({ publishToken })
      registry = serverRegistry(host.url, publishToken)
      folder = await mkdtemp(join(tmpdir(), 'ddpm-publishing-'))
    })
    after(async () => {
      await host?.stop()
      await rm(folder, { recursive: true, force: true })
    })

    const send = (path: string, method: string, headers: Record<string, string>, body?: Buffer) =>
      request(host.url, path, headers, method, body)
    const rejected = ({ status, headers, body }: Reply, expected: number): string => {
      assert.equal(status, expected, body.toString())
      assert.equal(headers['cache-control'], 'no-store')
      return (JSON.parse(body.toString()) as { detail: string }).detail
    }

    test('requests without the correct token are rejected', async () => {
      const content = randomBytes(10)
      const path = `/files/${createHash('sha256').update(content).digest('hex')}`
      for (const [target, method] of [
        [path, 'PUT'],
        [path, 'POST'],
        [`${path}/parts`, 'GET'],
        [`${path}/parts/0`, 'PUT'],
        ['/api/models/ada/shapes/versions', 'POST'],
        [`/api/models/ada/shapes/versions/${'0'.repeat(64)}`, 'PUT'],
        ['/api/models/ada/shapes/versions/latest', 'DELETE'],
        ['/api/models/ada/shapes/aliases/latest', 'PUT'],
        ['/api/models/ada/shapes', 'DELETE'],
        ['/api/collection', 'POST'],
      ] as const) {
        for (const token of [
          undefined,
          'Bearer',
          'Bearer ',
          'Bearer wrong',
          publishToken,
          `Basic ${publishToken}`,
        ]) {
          const headers = {
            'Content-Type': 'application/json',
            ...(token !== undefined && { Authorization: token }),
          }
          const reply = await send(target, method, headers, method === 'GET' ? undefined : Buffer.from('{}'))
          assert.match(rejected(reply, 401), /invalid token/, `${method} ${target} ${token}`)
          assert.match(reply.headers['www-authenticate']!, /^Bearer/)
        }
      }
      assert.equal((await send(path, 'GET', {})).status, 404)
    })

    test('a file is written once, completely, and only if its hash matches', async () => {
      const content = randomBytes(300_000)
      const sha256 = createHash('sha256').update(content).digest('hex')
      const path = `/files/${sha256}`
      const typed = { ...authorized, 'Content-Type': 'application/octet-stream' }
      assert.match(rejected(await send(path, 'PUT', typed, randomBytes(300_000)), 422), /SHA-256|hash/)
      assert.equal((await send(path, 'GET', {})).status, 404, 'no incomplete file is visible')
      const first = await send(path, 'PUT', typed, content)
      assert.deepEqual(
        [first.status, first.headers['etag'], first.headers['location']],
        [201, `"${sha256}"`, path],
      )
      assert.equal((await send(path, 'PUT', typed, content)).status, 204)
      assert.ok((await send(path, 'GET', {})).body.equals(content))

      rejected(await send('/files/abc', 'PUT', typed, content), 404)
      for (const type of ['text/html', 'image/svg+xml', 'text/javascript', 'image/png; charset=x']) {
        const reply = await send(path, 'PUT', { ...authorized, 'Content-Type': type }, content)
        assert.match(
          rejected(reply, 415),
          /expected one of application\/octet-stream/,
          'a browser must not run uploads as pages of this origin',
        )
        assert.match(reply.headers['accept']!, /^application\/octet-stream, /)
      }
      for (const index of ['x', '-1', '12345', '1.5']) {
        assert.equal((await send(`${path}/parts/${index}`, 'PUT', typed, content)).status, 404, index)
      }
      for (const bytes of ['', '0', '-5', 'x', '99999999999999']) {
        rejected(await send(`${path}?bytes=${bytes}`, 'POST', authorized), 422)
      }
    })

    test('a model with a file in parts: an incomplete publication is rejected, then completed', async () => {
      const exported = join(folder, 'large')
      const { contents } = await writeExported(exported, 'ada/large', { graph: 40_000_001, preview: 10 })
      const { manifest, files } = await readExported(exported)
      const text = formatManifest(manifest)
      const { version, missing } = await registry.begin(manifest, text)
      assert.deepEqual(missing, manifest.files)
      const path = `/files/${files[0]!.sha256}`
      const part = contents[0]!.subarray(0, 16 * 2 ** 20)
      assert.equal((await send(`${path}/parts/0`, 'PUT', authorized, part)).status, 204)
      const early = await send(`${path}?bytes=${contents[0]!.length}`, 'POST', authorized)
      assert.match(rejected(early, 409), /got 16777216 bytes in 1 parts/)
      await assert.rejects(
        registry.commit('ada/large', version, []),
        /Missing files of ada\/large: model.onnx/,
      )
      assert.equal(await registry.model('ada/large'), null)

      let arrived = 0
      for (const file of files) await registry.send(file, (count) => (arrived += count))
      assert.equal(arrived, 40_000_011)
      assert.equal(await registry.commit('ada/large', version, ['stable']), 'new')
      assert.equal(await registry.commit('ada/large', version, ['stable']), 'unchanged')
      assert.ok((await send(path, 'GET', {})).body.equals(contents[0]!))
      assert.deepEqual((await registry.begin(manifest, text)).missing, [])
      assert.deepEqual(JSON.parse((await send(`${path}/parts`, 'GET', authorized)).body.toString()), {
        parts: [],
      })
    })

    test('an announcement must be a manifest with the name in the path', async () => {
      const { manifest } = await writeExported(join(folder, 'other'), 'ada/other', { graph: 10 })
      const announce = (path: string, body: string) =>
        send(
          `/api/models/${path}/versions`,
          'POST',
          { ...authorized, 'Content-Type': 'application/json' },
          Buffer.from(body),
        )
      const text = formatManifest(manifest)
      assert.match(
        rejected(await announce('ada/elsewhere', text), 422),
        /expected the name ada\/elsewhere, got ada\/other/,
      )
      assert.match(rejected(await announce('ada/other', '{"version":1}'), 422), /licence/)
      assert.match(
        rejected(await announce('ada/other', JSON.stringify({ ...manifest, surprise: 1 })), 422),
        /surprise/,
      )
      assert.equal((await announce('ada/other', 'no json')).status, 400)
      // The response may come before everything was sent, and the connection may be closed first.
      const large = await announce('ada/other', ' '.repeat(2 ** 20 + 1)).catch(() => null)
      assert.ok(large === null || large.status === 413)
      assert.equal((await announce('ada%2f..%2f..%2fx/other', text)).status, 404)
      assert.deepEqual(
        JSON.parse((await send('/api/models/ada/other/versions', 'GET', {})).body.toString()).status,
        404,
      )
    })

    test('the commands over HTTP: publish --to, list, rollback, unpublish, gc', async () => {
      const exported = join(folder, 'run')
      const first = await writeExported(exported, 'ada/shapes', { graph: 1000, preview: 100 })
      const env = { DDPM_PUBLISH_TOKEN: publishToken }
      const run = async (...args: string[]) =>
        (await command(['publish', ...args, '--to', host.url], env)).stdout
      assert.match(
        await run(exported, '--dry-run'),
        /^Would publish ada\/shapes at .*\n {2}to send .*\n {2}to send /,
      )
      assert.match(await run(exported, '--alias', 'v1'), /^Published ada\/shapes at http/)
      assert.match(await run(exported), /already published/)
      assert.match(await run(exported, '--description', 'Other.'), /^Updated ada\/shapes/)
      assert.match(
        await run('list'),
        /ada\/shapes\n {2}\w{12} {2}\S+ \S+ {2}v1\n {2}\w{12} {2}\S+ \S+ {2}latest\n/,
      )
      assert.match(await run('rollback', 'ada/shapes'), /the latest version is \w{12}\.$/m)
      assert.match((await send('/api/models/ada/shapes', 'GET', {})).body.toString(), /Random bytes/)
      assert.match(await run('unpublish', 'ada/shapes'), /^Unpublished ada\/shapes \(2 versions\)/)
      const file = `/files/${first.manifest.files[0]!.sha256}`
      assert.equal((await send(file, 'GET', {})).status, 200)
      assert.match(await run('gc', '--keep-days', '0'), /\nRemoved \d files? /)
      assert.equal((await send(file, 'GET', {})).status, 404)
      assert.equal((await send('/api/models/ada/large', 'GET', {})).status, 200, 'published files remain')

      const nobody = await command(['publish', exported, '--to', host.url], { DDPM_PUBLISH_TOKEN: '' })
      assert.match(nobody.stderr, /^Missing token for http[^\n]*DDPM_PUBLISH_TOKEN[^\n]*\n$/)
      const nowhere = await command(['publish', 'list', '--to', 'http://localhost:9'], env)
      assert.match(nowhere.stderr, /^Cannot reach http:\/\/localhost:9 .*run the same command again\.\n$/)
    })
  })
}
