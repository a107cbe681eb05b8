import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'ddpm-starter-'))
after(() => rmSync(folder, { recursive: true }))

test('relative paths refer to the folder in which npm was called', () => {
  mkdirSync(join(folder, 'my images'))
  const args = ['--prefix', root, 'run', '--silent', 'train', '--', '--data', 'my images']
  const { status, stderr } = spawnSync('npm', args, { cwd: folder, encoding: 'utf8' })
  assert.equal(status, 1)
  assert.match(stderr, /Cannot find images in my images: the folder is empty/)
})
