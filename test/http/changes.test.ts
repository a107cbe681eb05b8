// Preconditions of requests that change state (RFC 9110 section 13.1), on both hosts.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { createModel, octets, publish, sha256Of } from '../support/registry.ts'
import { hosts, type RunningHost, request } from './hosts.ts'

const publishToken = 'the correct publish token'
const authorized = { Authorization: `Bearer ${publishToken}`, 'Content-Type': 'application/json' }
const other = `"${'0'.repeat(64)}"`

for (const [name, start] of Object.entries(hosts)) {
  describe(`preconditions of changes: ${name}`, () => {
    let host: RunningHost
    before(async () => {
      host = await start({ publishToken })
    })
    after(() => host?.stop())

    const send = (method: string, path: string, condition: Record<string, string>, body = '{}') =>
      request(host.url, path, { ...authorized, ...condition }, method, Buffer.from(body))
    const latest = async (model: string) =>
      (await request(host.url, `/api/models/${model}`)).headers['x-version'] ?? null

    test('an alias moves and a model is removed only if nobody changed them in the meantime', async () => {
      const path = '/api/models/ada/shapes'
      const [one, two] = [createModel('ada/shapes', 'one'), createModel('ada/shapes', 'two')]
      await publish(host.storage, one)
      const { headers } = await request(host.url, path)
      assert.equal(headers['etag'], `"${one.version}"`)
      await publish(host.storage, two)

      const stale = { 'If-Match': headers['etag']! }
      const rollback = JSON.stringify({ version: one.version })
      for (const [method, target, body] of [
        ['PUT', `${path}/aliases/latest`, rollback],
        ['DELETE', path, '{}'],
        ['DELETE', `${path}/versions/latest`, '{}'],
      ] as const) {
        const reply = await send(method, target, stale, body)
        assert.equal(reply.status, 412, `${method} ${target} ${reply.body}`)
        assert.equal(reply.headers['etag'], `"${two.version}"`)
        assert.equal(await latest('ada/shapes'), two.version)
      }
      const current = { 'If-Match': `"${two.version}"` }
      const moved = await send('PUT', `${path}/aliases/latest`, current, rollback)
      assert.deepEqual([moved.status, moved.headers['etag']], [200, `"${one.version}"`])
      assert.equal((await send('PUT', `${path}/aliases/new`, { 'If-Match': '*' }, rollback)).status, 412)
      assert.equal((await send('PUT', `${path}/aliases/new`, { 'If-None-Match': '*' }, rollback)).status, 200)
      assert.equal((await send('PUT', `${path}/aliases/new`, { 'If-None-Match': '*' }, rollback)).status, 412)
      assert.equal((await send('DELETE', path, { 'If-Match': `"${one.version}"` })).status, 204)
      assert.equal(await latest('ada/shapes'), null)
    })

    test('a version is announced and published only under the given conditions', async () => {
      const path = '/api/models/ada/digits/versions'
      await publish(host.storage, createModel('ada/digits', 'one'))
      const tag = (await request(host.url, path)).headers['etag']!
      assert.equal((await request(host.url, path, { 'If-Match': tag })).status, 200)
      assert.equal((await request(host.url, path, { 'If-Match': other })).status, 412)
      const two = createModel('ada/digits', 'two')
      assert.equal((await send('POST', path, { 'If-Match': other }, two.text)).status, 412)
      assert.equal((await send('POST', path, { 'If-Match': tag }, two.text)).status, 200)
      for (const [i, { sha256 }] of two.manifest.files.entries()) {
        await host.storage.put(`files/${sha256}`, two.contents[i]!, { mediaType: octets, sha256 })
      }
      const target = `${path}/${two.version}`
      assert.equal((await send('PUT', target, { 'If-Match': '*' })).status, 412)
      assert.notEqual(await latest('ada/digits'), two.version)
      assert.equal((await send('PUT', target, { 'If-None-Match': '*' })).status, 200)
      assert.equal((await send('PUT', target, { 'If-None-Match': '*' })).status, 412)
      assert.notEqual((await request(host.url, path)).headers['etag'], tag)
    })

    test('files, parts, the garbage collection and verification', async () => {
      const content = randomBytes(100)
      const path = `/files/${sha256Of(content)}`
      const put = (target: string, condition: Record<string, string>) =>
        request(host.url, target, { ...authorized, 'Content-Type': octets, ...condition }, 'PUT', content)
      assert.equal((await put(path, { 'If-Match': '*' })).status, 412)
      assert.equal((await request(host.url, path)).status, 404)
      assert.equal((await put(path, { 'If-None-Match': '*' })).status, 201)
      assert.equal((await put(path, { 'If-None-Match': '*' })).status, 412)
      assert.equal((await put(path, { 'If-Match': other })).status, 412)
      assert.equal((await put(`${path}/parts/0`, { 'If-Match': '*' })).status, 412)
      assert.equal((await send('POST', `${path}?bytes=100`, { 'If-Match': other })).status, 412)
      assert.equal((await send('POST', '/api/collection', { 'If-Match': '*' })).status, 412)
      const stored = JSON.stringify({ sha256: sha256Of(content), bytes: content.length })
      assert.equal((await send('POST', '/api/verification', {}, stored)).status, 200)
      assert.equal((await send('POST', '/api/verification', { 'If-Match': '*' }, stored)).status, 412)
    })
  })
}
