import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { command } from '../support/command.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-setup-'))
after(() => rmSync(folder, { recursive: true }))
const parts = join(folder, 'parts')

const setup = (args: readonly string[], env: Record<string, string> = {}) =>
  command(['setup', ...args], { DDPM_SETUP: parts, ...env })

/** Asserts that nothing is installed, and that the error has no stack trace. */
async function assertFails(
  args: readonly string[],
  message: RegExp,
  env?: Record<string, string>,
): Promise<void> {
  const { status, stderr } = await setup(args, env)
  assert.equal(status, 1, stderr)
  assert.match(stderr, message)
  assert.doesNotMatch(stderr, /\n\s+at /)
  assert.deepEqual(existsSync(parts) ? readdirSync(parts) : [], [])
}

/** Writes a program that claims to be a version of Python. */
function fakePython(version: string, otherwise: string): string {
  const path = join(folder, `python-${version}`)
  writeFileSync(
    path,
    `#!/bin/sh\nif [ "$1" = -c ]; then echo ${version.replace('.', ' ')}; else ${otherwise}; fi\n`,
  )
  chmodSync(path, 0o755)
  return path
}

/** Returns why the real Python cannot create an environment for TensorFlow, or false. */
function noSuitablePython(): string | false {
  const code = 'import sys, venv, ensurepip; exit(not (3, 9) <= sys.version_info < (3, 12))'
  return spawnSync('python3', ['-c', code]).status === 0
    ? false
    : 'requires python3 of version 3.9 to 3.11 with venv'
}

suite('npm run setup', { skip: process.platform === 'win32' && 'the fake Python is a shell script' }, () => {
  test('unknown parts, conflicting options and a missing part are reported', async () => {
    await assertFails(['tf2onx'], /cuda, tf2onnx, tfjs.*Did you mean "tf2onnx"/)
    await assertFails(['tf2onnx', '--cuda'], /Invalid --cuda: it is an option of tfjs/)
    await assertFails(['tfjs', '--remove', '--python', 'python3'], /Conflicting --python and --remove/)
    const { status, stdout } = await setup(['tfjs', '--remove'])
    assert.equal(status, 0)
    assert.match(stdout, /tfjs is not installed/)
  })

  test('without Python, or with another version, the error names the versions', async () => {
    await assertFails(
      ['tf2onnx', '--python', join(folder, 'nowhere')],
      /Cannot run Python as ".*nowhere" \(.*ENOENT\)\. Pass the path of Python 3\.11 or 3\.10 or 3\.9/,
    )
    await assertFails(
      ['tf2onnx', '--python', fakePython('3.13', 'exit 1')],
      /Invalid --python ".*": it is Python 3\.13, but tensorflow needs Python 3\.11 or 3\.10 or 3\.9/,
    )
    await assertFails(['tf2onnx'], /Cannot find Python 3\.11 or 3\.10 or 3\.9, which tensorflow needs/, {
      PATH: folder,
    })
  })

  test('without the module venv, the error names the package', async () => {
    await assertFails(
      ['tf2onnx', '--python', fakePython('3.11', 'echo "No module named venv" >&2; exit 1')],
      /No module named venv\nCannot create a virtual environment.*apt-get install python3-venv/,
    )
  })

  test('without a compiler, tfjs is not installed', { skip: process.platform !== 'linux' }, async () => {
    await assertFails(
      ['tfjs'],
      /Cannot run the C\+\+ compiler .*nowhere\. Install it, .*apt-get install g\+\+/,
      {
        CXX: join(folder, 'nowhere'),
      },
    )
  })

  test('without a package index, nothing remains', {
    skip: noSuitablePython(),
    timeout: 120_000,
  }, async () => {
    await assertFails(
      ['tf2onnx', '--python', 'python3'],
      /pip could not install tensorflow\. The package index \(pypi\.org\) cannot be reached/,
      {
        PIP_CONFIG_FILE: '/dev/null',
        PIP_INDEX_URL: 'http://127.0.0.1:9/simple',
        PIP_EXTRA_INDEX_URL: '',
        PIP_FIND_LINKS: '',
        PIP_NO_CACHE_DIR: '1',
        PIP_RETRIES: '1',
        PIP_DEFAULT_TIMEOUT: '1',
      },
    )
  })

  test('a disk that is too small is reported before the download', {
    skip: noSuitablePython(),
  }, async (t) => {
    const disk = join(folder, 'disk')
    const script = `mkdir ${disk} && mount -t tmpfs -o size=2m none ${disk} && exec "$0" "$@"`
    const inNamespace = ['unshare', '--map-root-user', '--mount', 'sh', '-c', script]
    if (spawnSync(inNamespace[0]!, [...inNamespace.slice(1), 'true']).status !== 0)
      return t.skip('mounting a file system is not allowed here')
    rmSync(disk, { recursive: true, force: true })
    const runner = new URL('../../run.js', import.meta.url).pathname
    const { status, stderr } = spawnSync(
      inNamespace[0]!,
      [...inNamespace.slice(1), process.execPath, runner, 'setup', 'tf2onnx', '--python', 'python3'],
      { encoding: 'utf8', env: { ...process.env, DDPM_SETUP: join(disk, 'parts') } },
    )
    assert.equal(status, 1)
    assert.match(stderr, /Not enough space for tensorflow: .* needs 1\.5 GB, but only 2\.1 MB are free/)
  })
})
