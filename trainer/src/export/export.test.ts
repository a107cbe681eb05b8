import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { domains, fillNormals, generate, graphFile, halfGraphFile, parseManifest } from '@ddpm/shared'
import { exportTinyModel } from '../../../test/support/model.ts'
import { createOnnxruntimeEngine } from '../engines/onnxruntime.ts'
import { openGraph, openModel } from '../inference/model.ts'
import { networkOf, openCheckpoint } from '../run/run.ts'
import ort from '../support/onnxruntime-node.ts'
import { exportModel } from './export.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-export-'))
const exported = join(folder, 'export')
before(() => exportTinyModel(exported))
after(() => rmSync(folder, { recursive: true }))

function noise(count: number): Float32Array {
  const values = new Float32Array(count)
  fillNormals(11, { domain: domains.sampling, image: 0, step: 0 }, values)
  return values
}

suite('an exported model', () => {
  const checker = spawnSync('/usr/bin/python3', ['-c', 'import onnx'])
  test('passes the ONNX checker', {
    skip: checker.status === 0 ? false : 'python3 has no onnx module',
  }, () => {
    const code = 'import sys,onnx; onnx.checker.check_model(onnx.load(sys.argv[1]), full_check=True)'
    const { status, stderr } = spawnSync('/usr/bin/python3', ['-c', code, join(exported, 'model.onnx')], {
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
  })

  test('in half precision is half as large and generates the same images within 2/255', async () => {
    const both = join(folder, 'half')
    const { run, checkpoint } = openCheckpoint(join(folder, 'run'))
    const described = {
      name: 'test/discs',
      description: 'Discs.',
      licence: 'CC0-1.0',
      weights: 'ema',
    } as const
    const manifest = await exportModel(run, checkpoint, {
      ...described,
      folder: both,
      preview: 0,
      dtype: 'fp16',
    })
    const [whole, half] = [graphFile(manifest), halfGraphFile(manifest)!]
    assert.ok(half.bytes < 0.7 * whole.bytes, `${half.bytes} of ${whole.bytes} bytes`)
    const options = { seed: 3, count: 8, steps: 15 }
    const [expected, actual] = await Promise.all(
      [whole, half].map(async ({ path }) => {
        const { network, dispose } = await openGraph(readFileSync(join(both, path)), manifest)
        const values = await generate(manifest, network, options)
        await dispose()
        return values
      }),
    )
    const worst = Math.max(...actual!.map((value, i) => Math.abs(value - expected![i]!)))
    assert.ok(worst > 0, 'the weights are not stored in half precision')
    assert.ok(worst * 127.5 <= 2, `images differ by up to ${(worst * 127.5).toFixed(1)}/255`)
  })

  test('has standard operators, a symbolic batch size and float32 timesteps', async () => {
    const session = await ort.InferenceSession.create(join(exported, 'model.onnx'))
    const inputs = session.inputMetadata.map((input) => [
      input.name,
      input.isTensor && input.type,
      input.isTensor && input.shape,
    ])
    await session.release()
    assert.deepEqual(
      inputs,
      [
        ['timestep', 'float32', ['N']],
        ['label', 'float32', ['N']],
        ['x', 'float32', ['N', 3, 16, 16]],
      ].sort(
        (a, b) => inputs.findIndex(([name]) => name === a[0]) - inputs.findIndex(([name]) => name === b[0]),
      ),
    )
    assert.ok(!readFileSync(join(exported, 'model.onnx')).includes('com.microsoft'))
  })

  for (const batch of [1, 3, 16]) {
    test(`equals the forward pass of the trainer at batch size ${batch}`, async () => {
      const { run, checkpoint } = openCheckpoint(join(folder, 'run'))
      const spec = { ...networkOf(run.config), batch: 1, adam: run.config.recipe, clipNorm: null }
      const engine = await createOnnxruntimeEngine(spec, checkpoint.tables, checkpoint.state)
      const model = await openModel(exported, 'ema')
      const x = noise(batch * 3 * 256)
      const timestep = Float32Array.from({ length: batch }, (_, i) => (i * 331) % 1000)
      const label = Float32Array.from({ length: batch }, (_, i) => i % 3)
      const expected = await engine.predict('ema', x, timestep, label)
      const actual = await model.network(x, timestep, label)
      await engine.dispose()
      await model.dispose()
      assert.equal(actual.length, expected.length)
      expected.forEach((value, i) => {
        assert.ok(Math.abs(value - actual[i]!) < 1e-5, `element ${i}: ${actual[i]}, expected ${value}`)
      })
    })
  }

  test('has a manifest with the hashes and sizes of its files', async () => {
    const manifest = parseManifest(readFileSync(join(exported, 'manifest.json'), 'utf8'), 'manifest.json')
    assert.equal(manifest.name, 'test/discs')
    assert.deepEqual(manifest.classes, ['light', 'warm'])
    for (const { path, sha256, bytes } of manifest.files) {
      const sum = spawnSync('sha256sum', [join(exported, path)], { encoding: 'utf8' }).stdout.split(' ')[0]
      assert.equal(sha256, sum)
      assert.equal(bytes, readFileSync(join(exported, path)).length)
    }
  })
})
