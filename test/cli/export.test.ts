import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { domains, generate, graphFile, halfGraphFile, normals, parseManifest } from '@ddpm/shared'
import ort from 'onnxruntime-node'
import sharp from 'sharp'
import { createOnnxruntimeEngine } from '../../trainer/src/engines/onnxruntime.ts'
import { exportModel } from '../../trainer/src/export/export.ts'
import { openGraph, openModel } from '../../trainer/src/export/inference.ts'
import { networkOf, openCheckpoint } from '../../trainer/src/run/run.ts'
import { exportTinyModel } from '../support/model.ts'
import { readReference } from '../support/reference.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-export-'))
const exported = join(folder, 'export')
before(() => exportTinyModel(exported))
after(() => rmSync(folder, { recursive: true }))

function noise(count: number): Float32Array {
  const values = new Float32Array(count)
  normals(11, { domain: domains.sampling, image: 0, step: 0 }, values)
  return values
}

function command(name: string, ...args: string[]): { status: number | null; output: string } {
  const script = fileURLToPath(new URL(`../../trainer/src/commands/${name}.ts`, import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    cwd: folder,
    encoding: 'utf8',
  })
  return { status, output: stdout + stderr }
}

suite('an exported model', () => {
  const checker = spawnSync('/usr/bin/python3', ['-c', 'import onnx'])
  test('passes onnx’s own checker', {
    skip: checker.status === 0 ? false : 'python3 has no onnx here',
  }, () => {
    const code = 'import sys,onnx; onnx.checker.check_model(onnx.load(sys.argv[1]), full_check=True)'
    const { status, stderr } = spawnSync('/usr/bin/python3', ['-c', code, join(exported, 'model.onnx')], {
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
  })

  test('in half precision is half as large and draws the same within 2/255', async () => {
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
    const [expected, found] = await Promise.all(
      [whole, half].map(async ({ path }) => {
        const { network, dispose } = await openGraph(readFileSync(join(both, path)), manifest)
        const values = await generate(manifest, network, options)
        await dispose()
        return values
      }),
    )
    const worst = Math.max(...found!.map((value, i) => Math.abs(value - expected![i]!)))
    assert.ok(worst > 0, 'weights in half precision are not the same')
    assert.ok(worst * 127.5 <= 2, `pictures differ by up to ${(worst * 127.5).toFixed(1)}/255`)
  })

  test('has standard operators, an open batch and float32 timesteps', async () => {
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
    test(`equals the trainer's own forward pass at batch ${batch}`, async () => {
      const { run, checkpoint } = openCheckpoint(join(folder, 'run'))
      const spec = { ...networkOf(run.config), batch: 1, adam: run.config.recipe, clipNorm: null }
      const engine = await createOnnxruntimeEngine(spec, checkpoint.tables, checkpoint.state)
      const model = await openModel(exported, 'ema')
      const x = noise(batch * 3 * 256)
      const timestep = Float32Array.from({ length: batch }, (_, i) => (i * 331) % 1000)
      const label = Float32Array.from({ length: batch }, (_, i) => i % 3)
      const own = await engine.predict('ema', x, timestep, label)
      const theirs = await model.network(x, timestep, label)
      await engine.dispose()
      await model.dispose()
      assert.equal(own.length, theirs.length)
      own.forEach((value, i) => {
        assert.ok(Math.abs(value - theirs[i]!) < 1e-5, `element ${i}: ${value} and ${theirs[i]}`)
      })
    })
  }

  test('is described by a manifest whose hashes are those of its files', async () => {
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

suite('npm run sample', () => {
  test('draws the same grid from the run and from its export; another seed another one', () => {
    const draw = (model: string, out: string, ...args: string[]) => {
      const { status, output } = command(
        'sample',
        model,
        '--count',
        '4',
        '--steps',
        '5',
        '--out',
        out,
        ...args,
      )
      assert.equal(status, 0, output)
      return sharp(join(folder, out)).raw().toBuffer()
    }
    return Promise.all([
      draw('run', 'a.png'),
      draw('export', 'b.png'),
      draw('run', 'c.png', '--seed', '1'),
    ]).then(([a, b, c]) => {
      const furthest = a.reduce((max, value, i) => Math.max(max, Math.abs(value - b[i]!)), 0)
      assert.ok(furthest <= 1, `pixels differ by ${furthest}`)
      assert.notDeepEqual(a, c)
    })
  })

  test('bad input is named', () => {
    for (const [args, message] of [
      [['nowhere'], /There is no nowhere/],
      [['run', '--class', 'blue'], /Unknown class "blue": expected one of light, warm/],
      [['run', '--sampler', 'pndm'], /Expected one of ddpm, ddim/],
      [['run', '--steps', '5000'], /Invalid steps: .* got 5000/],
      [['.'], /no training run in \./],
    ] as const) {
      const { status, output } = command('sample', ...args)
      assert.equal(status, 1, output)
      assert.match(output, message)
      assert.doesNotMatch(output, /\n\s+at /)
    }
  })
})

suite('npm run import', () => {
  const reference = readReference('gray16')
  assert.ok(reference, 'test/reference holds gray16')
  const config = reference.weightsPath.replace('weights.safetensors', 'config.json')

  test('weights that PyTorch trained come in, are exported, and predict what PyTorch predicted', async () => {
    const imported = command(
      'import',
      reference.weightsPath,
      '--config',
      config,
      '--size',
      '8',
      '--out',
      'gray',
    )
    assert.equal(imported.status, 0, imported.output)
    const sent = command('export', 'gray', '--preview', '1')
    assert.equal(sent.status, 0, sent.output)
    const model = await openModel(join(folder, 'gray/export'), 'ema')
    const { xt, timestep, epsilon } = Object.fromEntries(reference.case)
    const found = await model.network(xt!.data, timestep!.data, null)
    await model.dispose()
    const length = (values: Float32Array) => Math.hypot(...values)
    const error = length(found.map((value, i) => value - epsilon!.data[i]!)) / length(epsilon!.data)
    assert.ok(error < 1e-5, `epsilon differs by ${error}`)
  })

  test('missing tensors, unexpected tensors and wrong shapes are listed', () => {
    const arguments_ = JSON.parse(readFileSync(config, 'utf8'))
    const tryWith = (change: object) => {
      const path = join(folder, 'changed.json')
      writeFileSync(path, JSON.stringify({ ...arguments_, ...change }))
      return command('import', reference.weightsPath, '--config', path, '--size', '8', '--out', 'never')
    }
    const more = tryWith({ num_res_blocks: 2 })
    assert.equal(more.status, 1)
    assert.match(more.output, /missing: .*encoder_blocks/)
    assert.match(
      tryWith({ base_channels_multiples: [1, 1] }).output,
      /wrong shape: encoder_blocks\.2\.\S+ is \[32/,
    )
    assert.match(
      tryWith({ apply_attention: [false, false] }).output,
      /unexpected: encoder_blocks\.2\.attention/,
    )
    assert.match(tryWith({ heads: 3 }).output, /Unrecognized key: "heads"/)
  })
})
