import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { maxPartBytes } from '../../trainer/src/setup/bundle.ts'
import { command } from '../support/command.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-bundle-test-'))
after(() => rmSync(folder, { recursive: true }))

/** Runs a program in a network namespace of its own, which has no network. */
const withoutNetwork = ['unshare', '--map-root-user', '--net'] as const
const obstacle =
  process.platform !== 'linux' || process.arch !== 'x64'
    ? 'the bundle is for Linux x64'
    : spawnSync(withoutNetwork[0], [...withoutNetwork.slice(1), 'true']).status !== 0 &&
      'network namespaces are not allowed here'

suite('npm run bundle', () => {
  test('missing images and a missing CUDA are reported before any work', async () => {
    const out = join(folder, 'never')
    const env = { DDPM_SETUP: join(folder, 'no-parts') }
    for (const [args, message] of [
      [['--data', join(folder, 'nowhere')], /Cannot find .*nowhere: no such file or folder\. Correct --data/],
      [['--cuda'], /Cannot pack CUDA: it is not installed\. Run npm run setup -- cuda first/],
    ] as const) {
      const { status, stderr } = await command(['bundle', '--out', out, ...args], env)
      assert.equal(status, 1)
      assert.match(stderr, message)
      assert.ok(!existsSync(out) || readdirSync(out).length === 0)
    }
  })

  test('trains, samples and exports without network and without a home', {
    skip: obstacle,
    timeout: 600_000,
  }, async () => {
    const data = join(folder, 'notes')
    mkdirSync(data)
    writeFileSync(join(data, 'a.txt'), 'a')
    const out = join(folder, 'parts')
    const { status, stderr, stdout } = await command(['bundle', '--out', out, '--data', data])
    assert.equal(status, 0, stderr)
    const parts = readdirSync(out).sort()
    assert.ok(parts.length > 1)
    for (const part of parts) assert.ok(statSync(join(out, part)).size <= maxPartBytes)
    assert.match(stdout, /cat ddpm\.tar\.gz\.\* \| tar xz/)

    execFileSync('sh', ['-c', 'cat parts/ddpm.tar.gz.* | tar xz'], { cwd: folder })
    assert.ok(existsSync(join(folder, 'ddpm/data/notes/a.txt')))
    const home = join(folder, 'home')
    mkdirSync(home)
    const ddpm = (...args: string[]) =>
      spawnSync(withoutNetwork[0], [...withoutNetwork.slice(1), 'ddpm/ddpm', ...args], {
        cwd: folder,
        encoding: 'utf8',
        env: { HOME: home, PATH: '/usr/bin:/bin' },
      })
    const small = ['--base-channels', '8', '--batch-size', '4', '--sampling-steps', '2']
    for (const args of [
      ['train', '--data', 'shapes:64', '--steps', '2', ...small, '--out', 'run'],
      ['sample', 'run', '--count', '1', '--out', 'image.png'],
      ['export', 'run', '--preview', '1'],
    ]) {
      const { status, stderr } = ddpm(...args)
      assert.equal(status, 0, `${args.join(' ')}: ${stderr}`)
    }
    for (const file of ['image.png', 'run/export/model.onnx'])
      assert.ok(statSync(join(folder, file)).size > 0)
    assert.deepEqual(readdirSync(home), [])
    const { stderr: unknown } = ddpm('serve')
    assert.match(unknown, /^Unknown command "serve"\..* The commands are: .*train/)
  })
})
