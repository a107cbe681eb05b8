import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { chooseAddress, readWorkerAddress } from './worker-address.ts'

/** What wrangler 4.164.0 wrote to WRANGLER_OUTPUT_FILE_PATH, with the given targets. */
function recordedOutput(targets: readonly string[]): string {
  const session = {
    type: 'wrangler-session',
    version: 1,
    wrangler_version: '4.164.0',
    command_line_args: ['deploy', '--env=', '--config', 'wrangler.toml'],
    log_file_path: '/home/ada/.config/.wrangler/logs/wrangler-2026-11-29_01-40-00_000.log',
    timestamp: '2026-11-29T01:40:00.000Z',
  }
  const deploy = {
    type: 'deploy',
    version: 1,
    worker_name: 'ddpm',
    worker_tag: 'tag',
    version_id: 'version',
    targets,
    worker_name_overridden: false,
    bundle_size: { raw_bytes: 1020279, gzip_bytes: 178216 },
    timestamp: '2026-11-29T01:40:02.000Z',
  }
  return `${JSON.stringify(session)}\n${JSON.stringify(deploy)}\n`
}

test("the address is read from wrangler's output file", async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ddpm-output-'))
  try {
    const path = join(folder, 'output.ndjson')
    const read = (targets: readonly string[]) => {
      writeFileSync(path, recordedOutput(targets))
      return readWorkerAddress(path)
    }
    assert.equal(await read(['https://ddpm.ada.workers.dev']), 'https://ddpm.ada.workers.dev')
    assert.equal(await read([]), null)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a workers.dev address is preferred to a custom domain, and a custom domain to a route', () => {
  const [workersDev, custom, route] = [
    'https://ddpm.ada.workers.dev',
    'models.example (custom domain)',
    'example.com/* (zone name: example.com)',
  ]
  assert.equal(chooseAddress([route, custom, workersDev]), workersDev)
  assert.equal(chooseAddress([route, custom]), 'https://models.example')
  assert.equal(chooseAddress([route]), 'https://example.com')
})

test('targets in every form that wrangler prints', () => {
  for (const [target, expected] of [
    ['models.example (custom domain - zone id: 0123456789abcdef)', 'https://models.example'],
    ['models.example (custom domain - zone name: example)', 'https://models.example'],
    ['models.example (custom domain) [production: enabled, previews: enabled]', 'https://models.example'],
    ['models.example (custom domain) [production: disabled, previews: enabled]', null],
    ['models.example.com/* (zone id: 0123456789abcdef)', 'https://models.example.com'],
    ['https://models.example.com/*', 'https://models.example.com'],
    // Routes that do not cover a whole host name.
    ['example.com/models/* (zone name: example.com)', null],
    ['*.example.com/* (zone name: example.com)', null],
    ['*example.com/*', null],
    ['example.com', null],
    ['...and 3 more routes', null],
    ['schedule: 0 0 * * *', null],
    ['Producer for https://queue.example', null],
    ['https://evil.example/?ddpm.workers.dev', null],
  ] as const) {
    assert.equal(chooseAddress([target]), expected, target)
  }
})
