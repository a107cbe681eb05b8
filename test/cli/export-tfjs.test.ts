import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { domains, fillNormals } from '@ddpm/shared'
import { openModel } from '../../trainer/src/inference/model.ts'
import { exportTinyModel } from '../support/model.ts'
import { readReference } from '../support/reference.ts'
import { openTfjs, readGraphModel, type TfjsModel } from '../support/tfjs.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-tfjs-'))
before(() => exportTinyModel(join(folder, 'export')))
after(() => rmSync(folder, { recursive: true }))

function command(name: string, ...args: string[]): { status: number | null; output: string } {
  const script = fileURLToPath(new URL(`../../trainer/src/commands/${name}.ts`, import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    cwd: folder,
    encoding: 'utf8',
  })
  return { status, output: stdout + stderr }
}

function run(name: string, ...args: string[]): void {
  const { status, output } = command(name, ...args)
  assert.equal(status, 0, output)
}

/** Exports a run with `npm run export -- RUN --format tfjs` and opens the graph model. */
async function exported(name: string): Promise<TfjsModel> {
  run('export', name, '--format', 'tfjs')
  return openTfjs(readGraphModel(join(folder, name, 'tfjs')))
}

function maxDifference(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length)
  return a.reduce((max, value, i) => Math.max(max, Math.abs(value - b[i]!)), 0)
}

suite('a TensorFlow.js graph model', () => {
  test('with classes and attention predicts the same as the ONNX export, at any batch size', async () => {
    const onnx = await openModel(join(folder, 'export'), 'ema')
    const tfjs = await exported('run')
    for (const batch of [1, 3]) {
      const x = new Float32Array(batch * 3 * 256)
      fillNormals(11, { domain: domains.sampling, image: 0, step: 0 }, x)
      const timestep = Float32Array.from({ length: batch }, (_, i) => (i * 331) % 1000)
      const label = Float32Array.from({ length: batch }, (_, i) => i % 3)
      const expected = await onnx.network(x, timestep, label)
      const actual = tfjs.run({
        x: { shape: [batch, 3, 16, 16], values: x },
        timestep: { shape: [batch], values: timestep },
        label: { shape: [batch], values: label },
      })
      assert.deepEqual(actual.shape, [batch, 3, 16, 16])
      assert.ok(expected.some((value) => Math.abs(value) > 0.1))
      const difference = maxDifference(actual.values, expected)
      assert.ok(difference < 1e-5, `batch ${batch}: ${difference}`)
    }
    await onnx.dispose()
  })

  test('of weights trained with PyTorch predicts the same as PyTorch', async () => {
    const reference = readReference('gray16')
    assert.ok(reference, 'test/reference contains gray16')
    const config = reference.weightsPath.replace('weights.safetensors', 'config.json')
    run('import', reference.weightsPath, '--config', config, '--size', '8', '--out', 'gray')
    const { xt, timestep, epsilon } = Object.fromEntries(reference.case)
    const actual = (await exported('gray')).run({
      x: { shape: xt!.shape, values: xt!.data },
      timestep: { shape: timestep!.shape, values: timestep!.data },
    })
    const difference = maxDifference(actual.values, epsilon!.data)
    assert.ok(difference < 1e-5, `${difference}`)
  })

  test('contains everything that a sampler needs in its metadata', async () => {
    const { graph } = await exported('run')
    const { info } = await openModel(join(folder, 'run'), 'ema')
    assert.deepEqual(graph.metadata, {
      name: 'local/run',
      description: 'Generates images like those of discs.',
      licence: 'unspecified',
      ...JSON.parse(JSON.stringify(info)),
    })
  })

  test('is readable by tf2onnx: nodes after their inputs, named outputs, one group of weights', () => {
    const model = JSON.parse(
      Buffer.from(
        readGraphModel(join(folder, 'run/tfjs')).find(({ path }) => path === 'model.json')!.bytes,
      ).toString(),
    )
    const defined = new Set<string>()
    for (const { name, input = [] } of model.modelTopology.node) {
      for (const required of input) assert.ok(defined.has(required), `${name} requires ${required}`)
      assert.ok(!defined.has(name), name)
      defined.add(name)
    }
    for (const output of Object.keys(model.signature.outputs)) assert.ok(defined.has(output), output)
    assert.equal(model.weightsManifest.length, 1)
    const constants = model.modelTopology.node.filter(({ op }: { op: string }) => op === 'Const')
    const names = (list: readonly { name: string }[]) => list.map(({ name }) => name)
    assert.deepEqual(names(constants), names(model.weightsManifest[0].weights))
  })

  test('rejects options of ONNX files', () => {
    for (const [args, message] of [
      [['--via', 'tf2onnx'], /Conflicting --via tf2onnx and --format tfjs: .* Remove one of them/],
      [['--dtype', 'fp16'], /Conflicting --dtype fp16 and --format tfjs/],
    ] as const) {
      const { status, output } = command('export', 'run', '--format', 'tfjs', ...args)
      assert.equal(status, 1, output)
      assert.match(output, message)
    }
  })
})
