// The Hugging Face hub's official JavaScript client downloads models from this server.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { downloadFile, fileDownloadInfo, listFiles, modelInfo, snapshotDownload } from '@huggingface/hub'
import { hosts, type RunningHost, request } from './hosts.ts'
import { fill, type Site } from './site.ts'

for (const [name, start] of Object.entries(hosts)) {
  describe(`hub client: ${name}`, () => {
    let host: RunningHost
    let site: Site
    let folder: string
    before(async () => {
      host = await start()
      site = await fill(host.storage)
      folder = await mkdtemp(join(tmpdir(), 'ddpm-hub-'))
    })
    after(async () => {
      await host?.stop()
      await rm(folder, { recursive: true, force: true })
    })
    const repo = 'ada/shapes'

    test('finds the model, its revision and its files', async () => {
      const info = await modelInfo({ name: repo, hubUrl: host.url, additionalFields: ['sha', 'author'] })
      assert.deepEqual([info.name, info.sha, info.private], [repo, site.version.slice(0, 40), false])
      const entries = await Array.fromAsync(listFiles({ repo, hubUrl: host.url }))
      assert.deepEqual(
        entries.map(({ path, size, type }) => [path, size, type]),
        [
          ['model.onnx', 10_000, 'file'],
          ['manifest.json', site.subjects.manifest.content.length, 'file'],
        ],
      )
    })

    test('downloads a file: complete, a range, by alias, by version', async () => {
      const { content } = site.subjects.model
      for (const revision of ['main', 'stable', site.version, site.version.slice(0, 40)]) {
        const info = (await fileDownloadInfo({ repo, path: 'model.onnx', revision, hubUrl: host.url }))!
        assert.deepEqual([info.size, info.etag], [10_000, `"${site.manifest.files[0]!.sha256}"`])
        const blob = (await downloadFile({ repo, path: 'model.onnx', revision, hubUrl: host.url }))!
        assert.ok(Buffer.from(await blob.arrayBuffer()).equals(content), revision)
        const part = await blob.slice(100, 5000).arrayBuffer()
        assert.ok(Buffer.from(part).equals(content.subarray(100, 5000)))
      }
    })

    test('downloads a snapshot into its cache and uses the cache the next time', async () => {
      const cacheDir = join(folder, 'cache')
      for (let time = 0; time < 2; time++) {
        const snapshot = await snapshotDownload({ repo, hubUrl: host.url, cacheDir })
        assert.ok(snapshot.endsWith(site.version.slice(0, 40)))
        assert.ok((await readFile(join(snapshot, 'model.onnx'))).equals(site.subjects.model.content))
        const manifest = await readFile(join(snapshot, 'manifest.json'))
        assert.equal(createHash('sha256').update(manifest).digest('hex'), site.version)
      }
    })

    test('reports a missing file, revision or model', async () => {
      assert.equal(await fileDownloadInfo({ repo, path: 'nothing', hubUrl: host.url }), null)
      const missing: [string, string][] = [
        ['/ada/shapes/resolve/main/nothing', 'EntryNotFound'],
        ['/ada/shapes/resolve/main/unet/config.json', 'EntryNotFound'],
        ['/api/models/ada/shapes/tree/main/unet', 'EntryNotFound'],
        ['/ada/shapes/resolve/nothing/model.onnx', 'RevisionNotFound'],
        ['/ada/nothing/resolve/main/model.onnx', 'RepoNotFound'],
        ['/ada/.nothing/resolve/main/model.onnx', 'RepoNotFound'],
        ['/api/models/ada/nothing/tree/main', 'RepoNotFound'],
        ['/api/models/ada/shapes/revision/nothing', 'RevisionNotFound'],
      ]
      for (const [path, code] of missing) {
        const { status, headers } = await request(host.url, path)
        assert.deepEqual([status, headers['x-error-code']], [404, code], path)
      }
      await assert.rejects(modelInfo({ name: 'ada/nothing', hubUrl: host.url }), /404|Unknown model/)
    })

    const python = { 'User-Agent': 'unknown/None; hf_hub/2.4.0; python/3.13.1' }
    const form = { 'Content-Type': 'application/x-www-form-urlencoded' }

    test('the Python client gets the hub API where others get our own', async () => {
      const read = async (path: string, headers = {}) =>
        JSON.parse((await request(host.url, path, headers)).body.toString())
      const info = await read('/api/models/ada/shapes', python)
      assert.deepEqual([info.id, info.sha], [repo, site.version.slice(0, 40)])
      assert.deepEqual(info.siblings[0].lfs.sha256, site.manifest.files[0]!.sha256)
      // Alternately, because a host may cache responses.
      for (const _ of [1, 2, 3]) {
        assert.equal((await read('/api/models/ada/shapes')).output, site.manifest.output)
        assert.equal((await read('/api/models/ada/shapes', python)).id, repo)
      }
      const list = await read('/api/models?search=shapes&limit=1000', python)
      assert.deepEqual(
        list.map(({ id }: { id: string }) => id),
        [repo],
      )
      assert.equal((await read('/api/models')).models[0].name, repo)
      const missing = await request(host.url, '/api/models/ada/nothing', python)
      assert.deepEqual([missing.status, missing.headers['x-error-code']], [404, 'RepoNotFound'])
      const invalid = await request(host.url, '/api/models?after=%2F', python)
      assert.equal(invalid.status, 422)
    })

    test('information about paths is requested as JSON or as a form', async () => {
      const url = '/api/models/ada/shapes/paths-info/main'
      const find = (type: object, body: string) =>
        request(host.url, url, { ...type }, 'POST', Buffer.from(body))
      const json = { 'Content-Type': 'application/json' }
      for (const [type, body] of [
        [json, '{"paths":["model.onnx","none"]}'],
        [form, 'paths=model.onnx&paths=none&expand=False'],
        [form, 'paths=model.onnx'],
      ] as const) {
        const { status, body: reply } = await find(type, body)
        assert.equal(status, 200, body)
        assert.deepEqual(
          JSON.parse(reply.toString()).map(({ path, size }: { path: string; size: number }) => [path, size]),
          [['model.onnx', 10_000]],
        )
      }
      for (const [type, body] of [
        [json, '{"paths":"model.onnx"}'],
        [json, '{"paths":[1]}'],
        [json, '{'],
        [form, 'files=model.onnx'],
      ] as const) {
        assert.equal((await find(type, body)).status, 422, body)
      }
      assert.equal((await find(form, `paths=${'x'.repeat(200_000)}`)).status, 413)
    })

    test('the response has the headers that hub clients read', async () => {
      const { headers } = await request(host.url, '/ada/shapes/resolve/main/model.onnx', {
        Range: 'bytes=0-0',
      })
      assert.equal(headers['x-repo-commit'], site.version.slice(0, 40))
      assert.equal(headers['x-linked-size'], '10000')
      assert.equal(headers['x-linked-etag'], `"${site.manifest.files[0]!.sha256}"`)
      assert.equal(headers['content-disposition'], 'inline; filename="model.onnx"')
      assert.equal(headers['access-control-allow-origin'], '*')
      assert.match(headers['access-control-expose-headers']!, /X-Repo-Commit/)
    })
  })
}
