// Converts models with the real TensorFlow and tf2onnx, which `npm run setup -- tf2onnx` installs.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { domains, fillNormals } from '@ddpm/shared'
import * as web from 'onnxruntime-web/wasm'
import { convertWithTf2onnx } from '../trainer/src/export/tf2onnx.ts'
import { toOnnxModel, toTfjsModel } from '../trainer/src/inference/graph.ts'
import { openGraph } from '../trainer/src/inference/model.ts'
import { createTables, flatten } from '../trainer/src/network/parameters.ts'
import { readExported } from '../trainer/src/run/exported.ts'
import { openPretrained } from '../trainer/src/run/pretrained.ts'
import { recipes } from '../trainer/src/run/recipes.ts'
import { layoutOfRun, modelInfoOf, openCheckpoint, type RunConfig } from '../trainer/src/run/run.ts'
import { tensorflow } from '../trainer/src/setup/environments.ts'
import { installedPython } from '../trainer/src/setup/python.ts'
import { initialState } from '../trainer/src/step/engine.ts'
import { command } from './support/command.ts'
import { readReference } from './support/reference.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-tf2onnx-'))
after(() => rmSync(folder, { recursive: true }))
const python = installedPython(tensorflow)

/** Converts trained weights. `convertWithTf2onnx` rejects predictions that differ from the plain export by 1e-4. */
function convert(config: RunConfig, weights: Float32Array, plain?: Uint8Array): Promise<Uint8Array> {
  const trained = { state: initialState(weights), tables: createTables(layoutOfRun(config)) }
  const expected = plain ?? toOnnxModel(config, trained, 'raw')
  return convertWithTf2onnx(python!, toTfjsModel(config, trained, 'raw'), modelInfoOf(config), expected)
}

suite('tf2onnx', { skip: python === null && 'requires npm run setup -- tf2onnx', timeout: 600_000 }, () => {
  for (const name of ['shapes', 'digits']) {
    test(`converts the included model ${name} like the plain export`, async () => {
      const path = fileURLToPath(new URL(`../edge/models/${name}`, import.meta.url))
      const { manifest, graph } = readExported(path)!
      const { tensors, fields, classes } = await openPretrained(path)
      const { channels, height, width } = manifest.shape
      const config: RunConfig = {
        version: 1,
        recipe: { ...recipes['images']!, ...fields },
        dataset: { name, count: 0, channels, height, width, classes },
      }
      const layout = layoutOfRun(config)
      // Without the constants of the graph.
      const parameters = new Map(layout.entries.map(({ name }) => [name, tensors.get(name)!]))
      await convert(config, flatten(layout, parameters, name), graph)
    })
  }

  test("converts PyTorch's reference network, whose predictions stay those of PyTorch", async () => {
    const reference = readReference('gray16')!
    const imported = join(folder, 'gray')
    const config = reference.weightsPath.replace('weights.safetensors', 'config.json')
    const { status, stderr } = await command([
      ...['import', reference.weightsPath, '--config', config, '--size', '8', '--out', imported],
    ])
    assert.equal(status, 0, stderr)
    const { run, checkpoint } = openCheckpoint(imported)
    const converted = await convert(run.config, checkpoint.state.parameters)
    const { xt, timestep, epsilon } = Object.fromEntries(reference.case)
    const { network, dispose } = await openGraph(converted, modelInfoOf(run.config))
    assertClose(await network(xt!.data, timestep!.data, null), epsilon!.data)
    await dispose()
  })

  test('npm run export -- --via tf2onnx writes a model that onnxruntime-web predicts the same with', async () => {
    const run = join(folder, 'run')
    const { status, stderr } = await command([
      ...['train', '--data', 'shapes:32', '--base-channels', '8', '--steps', '2', '--batch-size', '2'],
      ...['--sampling-steps', '2', '--out', run],
    ])
    assert.equal(status, 0, stderr)
    const out = join(folder, 'via')
    const via = await command(['export', run, '--via', 'tf2onnx', '--preview', '0', '--out', out])
    assert.equal(via.status, 0, via.stderr)
    assert.match(via.stdout, /Exported local\/run .* with tf2onnx to /)
    const converted = readFileSync(join(out, 'model.onnx'))
    const { run: opened, checkpoint } = openCheckpoint(run)
    const x = new Float32Array(2 * 3 * 32 * 32)
    fillNormals(0, { domain: domains.sampling, image: 0, step: 0 }, x)
    const [timestep, label] = [Float32Array.of(3, 700), Float32Array.of(0, 1)]

    web.env.wasm.numThreads = 1
    const session = await web.InferenceSession.create(converted)
    const { output } = await session.run({
      x: new web.Tensor('float32', x, [2, 3, 32, 32]),
      timestep: new web.Tensor('float32', timestep, [2]),
      label: new web.Tensor('float32', label, [2]),
    })
    const plain = await openGraph(toOnnxModel(opened.config, checkpoint, 'ema'), modelInfoOf(opened.config))
    assertClose(output!.data as Float32Array, await plain.network(x, timestep, label))
    await plain.dispose()
  })
})

function assertClose(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length)
  const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0)
  const difference = expected.reduce((max, value, i) => Math.max(max, Math.abs(value - actual[i]!)), 0)
  assert.ok(largest > 0)
  assert.ok(difference <= 1e-4 * largest, `${difference} of ${largest}`)
}
