import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openModel } from '../../trainer/src/inference/model.ts'
import { decodeSafetensors, encodeSafetensors } from '../../trainer/src/run/safetensors.ts'
import { readReference } from '../support/reference.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-import-'))
after(() => rmSync(folder, { recursive: true }))

function command(name: string, ...args: string[]): { status: number | null; output: string } {
  const script = fileURLToPath(new URL(`../../trainer/src/commands/${name}.ts`, import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    cwd: folder,
    encoding: 'utf8',
  })
  return { status, output: stdout + stderr }
}

suite('npm run import', () => {
  const reference = readReference('gray16')
  assert.ok(reference, 'test/reference contains gray16')
  const config = reference.weightsPath.replace('weights.safetensors', 'config.json')

  test('weights trained with PyTorch are imported and exported, and predict the same as in PyTorch', async () => {
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
    const exported = command('export', 'gray', '--preview', '1')
    assert.equal(exported.status, 0, exported.output)
    const model = await openModel(join(folder, 'gray/export'), 'ema')
    const { xt, timestep, epsilon } = Object.fromEntries(reference.case)
    const predicted = await model.network(xt!.data, timestep!.data, null)
    await model.dispose()
    const length = (values: Float32Array) => Math.hypot(...values)
    const error = length(predicted.map((value, i) => value - epsilon!.data[i]!)) / length(epsilon!.data)
    assert.ok(error < 1e-5, `epsilon differs by ${error}`)
  })

  test('the prefix of DataParallel and torch.compile is removed from the names', () => {
    const { tensors } = decodeSafetensors(readFileSync(reference.weightsPath), 'weights')
    const prefixed = new Map([...tensors].map(([name, tensor]) => [`module.${name}`, tensor]))
    const path = join(folder, 'parallel.safetensors')
    writeFileSync(path, encodeSafetensors({ tensors: prefixed, metadata: {} }))
    const { status, output } = command('import', path, '--config', config, '--size', '8')
    assert.equal(status, 0, output)
    assert.match(output, /Imported [\d,]+ parameters to runs\/parallel\//)
  })

  test('a pickle of torch.save is recognized, with the Python code that converts it', () => {
    for (const [name, head] of [
      ['new.pt', 'PK\x03\x04\0\0'],
      ['old.pt', '\x80\x02\x8a\x0a'],
    ] as const) {
      const path = join(folder, name)
      writeFileSync(path, Buffer.concat([Buffer.from(head, 'latin1'), Buffer.alloc(100)]))
      const { status, output } = command('import', path, '--config', config)
      assert.equal(status, 1)
      assert.match(
        output,
        /is a PyTorch pickle: expected safetensors[\s\S]*torch\.load\(.*\.pt"[\s\S]*\.safetensors"\)/,
      )
    }
  })

  test('errors name missing and unexpected tensors, wrong shapes and unknown arguments', () => {
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
