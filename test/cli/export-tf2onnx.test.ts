import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parseManifest } from '@ddpm/shared'
import { exportTinyModel } from '../support/model.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-tf2onnx-test-'))
before(() => exportTinyModel(join(folder, 'export')))
after(() => rmSync(folder, { recursive: true }))

const script = fileURLToPath(new URL('../../trainer/src/commands/export.ts', import.meta.url))

function exportVia(python: string): { status: number | null; output: string } {
  const args = [script, 'run', '--via', 'tf2onnx', '--python', python, '--preview', '1', '--out', 'via']
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

function assertRejected(python: string, message: RegExp): void {
  const { status, output } = exportVia(python)
  assert.equal(status, 1, output)
  assert.match(output, message)
  assert.match(output, /Or run `npm run export` without --via/)
  assert.doesNotMatch(output, /\n\s+at /)
  assert.ok(!existsSync(join(folder, 'via')))
}

suite('npm run export -- --via tf2onnx', () => {
  test('without Python: the error explains how to install it', () => {
    assertRejected(join(folder, 'nowhere/python3'), /Cannot run Python as ".*nowhere\/python3".*ENOENT/)
  })

  const hasNoTf2onnx = spawnSync('python3', ['-c', 'import tf2onnx']).status !== 0
  const bare = spawnSync('python3', ['--version']).status === 0 && hasNoTf2onnx
  test('without tf2onnx: the error names the missing modules and explains how to install them', {
    skip: bare ? false : 'python3 has tf2onnx, or there is no python3',
  }, () => {
    assertRejected(
      'python3',
      /Missing Python modules of python3: .*tf2onnx\. Install them: npm run setup -- tf2onnx\./,
    )
  })

  // The real conversion is tested in test/tf2onnx.test.ts. These tests replace Python with a script that accepts the command line of tf2onnx and writes a prepared file.
  const fakePython = (name: string, action: string): string => {
    const path = join(folder, name)
    writeFileSync(
      path,
      `#!/bin/sh\ncase "$1" in -c) exit 0;; esac\necho "$@" > '${folder}/${name}.args'\n${action}\n`,
    )
    chmodSync(path, 0o755)
    return path
  }
  const writes = (file: string) =>
    `while [ "$1" != --output ]; do shift; done; cp '${join(folder, file)}' "$2"`
  const windows = { skip: process.platform === 'win32' ? 'the fake Python is a shell script' : false }

  test(
    'passes the graph model, checks the result and writes the same manifest as plain export',
    windows,
    () => {
      const python = fakePython('right', `test -s "$4" || exit 3; ${writes('export/model.onnx')}`)
      const { status, output } = exportVia(python)
      assert.equal(status, 0, output)
      assert.match(
        readFileSync(`${python}.args`, 'utf8'),
        /^-m tf2onnx.convert --tfjs \S+\/model.json --output \S+ --inputs x:0,timestep:0,label:0 --rename-inputs x,timestep,label$/m,
      )
      const read = (name: string) => readFileSync(join(folder, name))
      assert.deepEqual(read('via/model.onnx'), read('export/model.onnx'))
      const infoOf = (name: string) => {
        const manifest = parseManifest(read(`${name}/manifest.json`).toString(), name)
        const { shape, classes, inputs, output, training, scheduler, sampling, files } = manifest
        return { shape, classes, inputs, output, training, scheduler, sampling, graph: files[0] }
      }
      assert.deepEqual(infoOf('via'), infoOf('export'))
      rmSync(join(folder, 'via'), { recursive: true })
    },
  )

  test('discards a model with different predictions', windows, async () => {
    await exportTinyModel(join(folder, 'other/export'), { steps: 3 })
    assertRejected(
      fakePython('wrong', writes('other/export/model.onnx')),
      /Invalid output of tf2onnx: at batch size 1 expected predictions that differ .* by at most \S+, got/,
    )
  })

  test('shows the output of a failed conversion, and rejects a file that is not a model', windows, () => {
    assertRejected(
      fakePython('failing', 'echo "ValueError: no such operator" >&2; exit 1'),
      /ValueError: no such operator/,
    )
    assertRejected(
      fakePython('garbling', writes('export/manifest.json')),
      /onnxruntime cannot open the output of tf2onnx/,
    )
  })
})
