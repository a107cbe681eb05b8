// Published files whose content changed in the store, with the right size: they are detected and repaired.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { command } from '../support/command.ts'
import { writeExported } from '../support/exported.ts'
import { hosts, type RunningHost, request } from './hosts.ts'

const publishToken = 'the correct publish token'

for (const [name, start] of Object.entries(hosts)) {
  describe(`damaged files: ${name}`, () => {
    let host: RunningHost
    let folder: string
    before(async () => {
      host = await start({ publishToken })
      folder = await mkdtemp(join(tmpdir(), 'ddpm-damage-'))
    })
    after(async () => {
      await host?.stop()
      await rm(folder, { recursive: true, force: true })
    })

    const publish = (...args: string[]) =>
      command(['publish', folder, ...args, '--to', host.url], { DDPM_PUBLISH_TOKEN: publishToken })
    const damage = (sha256: string, bytes: number) =>
      host.storage.put(`files/${sha256}`, Buffer.alloc(bytes), { mediaType: 'application/octet-stream' })

    test('publish --verify reports them, --repair and an upload replace them', async () => {
      const { manifest, contents } = await writeExported(folder, 'ada/shapes', { graph: 5000, preview: 50 })
      assert.equal((await publish()).status, 0)
      const [graph, preview] = manifest.files
      const path = `/files/${graph!.sha256}`
      const content = contents[0]!
      const isIntact = async () => (await request(host.url, path)).body.equals(content)

      const intact = await publish('--verify')
      assert.deepEqual([intact.status, intact.stdout.match(/^ {2}intact /gm)!.length], [0, 3])
      await damage(graph!.sha256, content.length)
      await host.storage.remove([`files/${preview!.sha256}`])
      const { headers } = await request(host.url, `/api/models/ada/shapes`)
      const version = headers['x-version']!
      await damage(version, Number(headers['content-length']))
      const found = await publish('--verify')
      assert.equal(found.status, 1)
      assert.match(
        found.stdout,
        / {2}damaged {2}.* \S*model\.onnx\n {2}missing .*preview\.png\n {2}damaged .* manifest\.json\n.*3 files damaged or missing/,
      )
      assert.match(found.stdout, /run the same command with --repair instead of --verify/)

      const repaired = await publish('--repair')
      assert.match(repaired.stdout, /^Repaired 2 files at http/m, repaired.stderr)
      assert.ok(await isIntact())
      assert.equal((await publish('--verify')).status, 0)

      await damage(graph!.sha256, content.length)
      const typed = {
        Authorization: `Bearer ${publishToken}`,
        'Content-Type': 'application/octet-stream',
      }
      assert.equal((await request(host.url, path, typed, 'PUT', content)).status, 201)
      assert.ok(await isIntact())
      assert.equal((await request(host.url, path, typed, 'PUT', content)).status, 204)
    })
  })
}
