// schemathesis generates valid and invalid requests from the API's own OpenAPI description, and checks that the responses
// are those of the description. Runs on both hosts, with the publish token.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { hosts } from './hosts.ts'
import { fill } from './site.ts'

const program = process.env['SCHEMATHESIS'] ?? 'schemathesis'
const isInstalled = spawnSync(program, ['--version']).status === 0
const skip =
  !isInstalled &&
  'schemathesis is not installed: run "pip install schemathesis==4.32.5", or set SCHEMATHESIS to its path'

const config = fileURLToPath(new URL('schemathesis.toml', import.meta.url))
const publishToken = 'schemathesis-'.repeat(3)

for (const [name, start] of Object.entries(hosts)) {
  test(`schemathesis finds no failure: ${name}`, { skip, timeout: 600_000 }, async () => {
    const host = await start({ publishToken })
    try {
      await fill(host.storage)
      const args = ['--config-file', config, 'run', `${host.url}/api/openapi.json`, '--no-color']
      const header = `Authorization: Bearer ${publishToken}`
      const extent = ['--max-examples', '5', '--generation-deterministic', '--request-timeout', '60']
      // In the temporary folder, because schemathesis writes its database to the current one.
      const child = spawn(program, [...args, '--header', header, ...extent], { cwd: tmpdir() })
      const output = child.stdout.setEncoding('utf8').toArray()
      const [status] = (await once(child, 'close')) as [number]
      assert.equal(status, 0, (await output).join(''))
    } finally {
      await host.stop()
    }
  })
}
