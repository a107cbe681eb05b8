import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { domains, normals } from '@ddpm/shared'
import { createGraph } from '../../trainer/src/algebra/graph.ts'
import { toTfjs } from '../../trainer/src/compile/tfjs/model.ts'
import { openModel } from '../../trainer/src/export/inference.ts'
import { exportTinyModel } from '../support/model.ts'
import { readReference } from '../support/reference.ts'
import { openTfjs, readGraphModel, type TfjsModel } from '../support/tfjs.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-tfjs-'))
before(() => exportTinyModel(join(folder, 'export')))
after(() => rmSync(folder, { recursive: true }))

function command(name: string, ...args: string[]): void {
  const script = fileURLToPath(new URL(`../../trainer/src/commands/${name}.ts`, import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    cwd: folder,
    encoding: 'utf8',
  })
  assert.equal(status, 0, stdout + stderr)
}

/** The graph model that `npm run export -- RUN --format tfjs` leaves. */
async function exported(run: string): Promise<TfjsModel> {
  command('export', run, '--format', 'tfjs')
  return openTfjs(readGraphModel(join(folder, run, 'tfjs')))
}

function furthest(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length)
  return a.reduce((max, value, i) => Math.max(max, Math.abs(value - b[i]!)), 0)
}

suite('a TensorFlow.js graph model', () => {
  test('with classes and attention predicts what the ONNX export predicts, at any batch', async () => {
    const onnx = await openModel(join(folder, 'export'), 'ema')
    const tfjs = await exported('run')
    for (const batch of [1, 3]) {
      const x = new Float32Array(batch * 3 * 256)
      normals(11, { domain: domains.sampling, image: 0, step: 0 }, x)
      const timestep = Float32Array.from({ length: batch }, (_, i) => (i * 331) % 1000)
      const label = Float32Array.from({ length: batch }, (_, i) => i % 3)
      const wanted = await onnx.network(x, timestep, label)
      const found = tfjs.run({
        x: { shape: [batch, 3, 16, 16], values: x },
        timestep: { shape: [batch], values: timestep },
        label: { shape: [batch], values: label },
      })
      assert.deepEqual(found.shape, [batch, 3, 16, 16])
      assert.ok(wanted.some((value) => Math.abs(value) > 0.1))
      assert.ok(furthest(found.values, wanted) < 1e-5, `batch ${batch}: ${furthest(found.values, wanted)}`)
    }
    await onnx.dispose()
  })

  test('of weights that PyTorch trained predicts what PyTorch predicted', async () => {
    const reference = readReference('gray16')
    assert.ok(reference, 'test/reference holds gray16')
    const config = reference.weightsPath.replace('weights.safetensors', 'config.json')
    command('import', reference.weightsPath, '--config', config, '--size', '8', '--out', 'gray')
    const { xt, timestep, epsilon } = Object.fromEntries(reference.case)
    const found = (await exported('gray')).run({
      x: { shape: xt!.shape, values: xt!.data },
      timestep: { shape: timestep!.shape, values: timestep!.data },
    })
    assert.ok(furthest(found.values, epsilon!.data) < 1e-5, `${furthest(found.values, epsilon!.data)}`)
  })

  test('says in its metadata all that a sampler needs', async () => {
    const { graph } = await exported('run')
    const facts = (await openModel(join(folder, 'run'), 'ema')).facts
    assert.deepEqual(graph.metadata, {
      name: 'local/run',
      description: 'Draws pictures like those of discs.',
      licence: 'unspecified',
      ...JSON.parse(JSON.stringify(facts)),
    })
  })

  test('is what tf2onnx reads: nodes after what they need, named outputs, one group of weights', () => {
    const model = JSON.parse(
      Buffer.from(
        readGraphModel(join(folder, 'run/tfjs')).find(({ path }) => path === 'model.json')!.bytes,
      ).toString(),
    )
    const known = new Set<string>()
    for (const { name, input = [] } of model.modelTopology.node) {
      for (const needed of input) assert.ok(known.has(needed), `${name} needs ${needed}`)
      assert.ok(!known.has(name), name)
      known.add(name)
    }
    for (const output of Object.keys(model.signature.outputs)) assert.ok(known.has(output), output)
    assert.equal(model.weightsManifest.length, 1)
    const constants = model.modelTopology.node.filter(({ op }: { op: string }) => op === 'Const')
    const names = (list: readonly { name: string }[]) => list.map(({ name }) => name)
    assert.deepEqual(names(constants), names(model.weightsManifest[0].weights))
  })

  test('has shards of at most 4 MiB, cut where they are full', async () => {
    const { ops, input } = createGraph()
    const size = 2_200_000
    const weight = Float32Array.from({ length: size }, (_, i) => i % 1009)
    const output = ops.add(input('x', ['N', 1]), input('weight', [1, size]))
    const files = toTfjs({ output }, { weights: new Map([['weight', weight]]) })
    assert.deepEqual(
      files.map(({ path, bytes }) => [path, path === 'model.json' || bytes.length]),
      [
        ['group1-shard1of3.bin', 4194304],
        ['group1-shard2of3.bin', 4194304],
        ['group1-shard3of3.bin', 411392],
        ['model.json', true],
      ],
    )
    const model = await openTfjs(files)
    const { values } = model.run({ x: { shape: [2, 1], values: Float32Array.of(0, 1000) } })
    assert.deepEqual(values.subarray(0, size), weight)
    assert.equal(values[2 * size - 1], 1000 + weight[size - 1]!)
  })
})
