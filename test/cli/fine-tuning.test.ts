import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import sharp from 'sharp'
import { serveOnNode } from '../../edge/commands/hosting/node.ts'
import { readExported } from '../../edge/commands/publishing/exported.ts'
import { publishModel } from '../../edge/commands/publishing/publish-model.ts'
import { storeRegistry } from '../../edge/commands/publishing/registry.ts'
import { folderStorage } from '../../edge/server/storage/folder.ts'
import { listCheckpoints } from '../../trainer/src/run/checkpoint.ts'
import { openCheckpoint } from '../../trainer/src/run/run.ts'
import { command } from '../support/command.ts'
import { exportTinyModel } from '../support/model.ts'
import { readReference } from '../support/reference.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-fine-tuning-'))
const [run, exported, images] = ['run', 'export', 'images'].map((name) => join(folder, name)) as [
  string,
  string,
  string,
]
after(() => rmSync(folder, { recursive: true }))

/** Writes images of two classes: one of the tiny model, "warm", and a new one, "cold". */
before(async () => {
  await exportTinyModel(exported)
  for (const [name, background] of [
    ['warm', '#f07828'],
    ['cold', '#2040c0'],
  ] as const) {
    mkdirSync(join(images, name), { recursive: true })
    for (const side of [20, 24, 28]) {
      const file = join(images, name, `${side}.png`)
      await sharp({ create: { width: side, height: side, channels: 3, background } }).toFile(file)
    }
  }
})

/** Trains one step with a learning rate that changes nothing in float32. */
async function fineTune(
  name: string,
  ...args: string[]
): Promise<{ output: string; weights: Float32Array; status: number | null }> {
  const out = join(folder, name)
  const still = [
    '--steps',
    '1',
    '--learning-rate',
    '1e-12',
    '--warmup',
    '0',
    '--sampling-steps',
    '2',
    '--batch-size',
    '2',
    '--threads',
    '1',
    '--out',
    out,
  ]
  const { status, stdout, stderr } = await command(['train', '--data', images, ...still, ...args])
  const weights = status === 0 ? openCheckpoint(out).checkpoint.state.parameters : new Float32Array()
  return { output: stdout + stderr, weights, status }
}

suite('npm run train -- --from', () => {
  let fromRun: Float32Array

  test('a run: takes network, size and the averaged weights; classes are matched by name', async () => {
    const { status, output, weights } = await fineTune('from-run', '--from', run)
    assert.equal(status, 0, output)
    assert.match(
      output,
      /Starting from .*step-\d+\.safetensors \(averaged weights after \d+ steps\): took [\d,]+ of/,
    )
    assert.match(output, /Class embeddings: 1 of 2 taken/)
    const { run: source, checkpoint } = openCheckpoint(run)
    const tuned = openCheckpoint(join(folder, 'from-run')).run.config
    assert.equal(tuned.dataset.height, source.config.dataset.height)
    for (const field of ['baseChannels', 'channelMultiples', 'predictionType', 'betaSchedule'] as const)
      assert.deepEqual(tuned.recipe[field], source.config.recipe[field])
    const { ema } = checkpoint.state
    const changed = weights.reduce((count, value, i) => count + (Math.abs(value - ema[i]!) > 1e-6 ? 1 : 0), 0)
    // Only rows of the label embedding differ: "cold" is new, and the classes have another order.
    assert.ok(changed > 0 && changed < 0.1 * ema.length, `${changed} of ${ema.length} values differ`)
    fromRun = weights
  })

  test('an exported model and a published one: the same weights as from the run', async (t) => {
    const { output, weights } = await fineTune('from-export', '--from', exported)
    assert.match(output, /Starting from exported model /)
    assert.deepEqual(weights, fromRun)

    const storage = folderStorage(join(folder, 'registry'))
    const model = await readExported(exported)
    await publishModel(
      storeRegistry(storage, 'locally', async () => {}),
      model,
    )
    const server = await serveOnNode({
      port: 0,
      storage,
      publicFolder: join(folder, 'images'),
      publishToken: null,
    })
    t.after(() => server.stop())
    const published = await fineTune('from-url', '--from', `${server.url}/${model.manifest.name}`)
    assert.equal(published.status, 0, published.output)
    assert.deepEqual(published.weights, fromRun)
    const unknown = await fineTune('never', '--from', `${server.url}/some/thing`)
    assert.match(unknown.output, /Cannot download .*\/api\/models\/some\/thing: status 404\./)
  })

  test('an included model, exported by version 0.1.0', async () => {
    const { status, output } = await fineTune('from-included', '--from', 'edge/models/shapes')
    assert.equal(status, 0, output)
    assert.match(output, /Starting from exported model ddpm\/shapes: took 1,086,515 of 1,086,707 parameters/)
    assert.match(output, /Class embeddings: 0 of 2 taken/)
  })

  test('an imported state_dict, which cannot be resumed', async () => {
    const reference = readReference('gray16')!
    const config = reference.weightsPath.replace('weights.safetensors', 'config.json')
    const imported = join(folder, 'imported')
    const args = ['import', reference.weightsPath, '--config', config, '--size', '16', '--out', imported]
    assert.equal((await command(args)).status, 0)
    const resumed = await command(['train', '--resume', imported])
    assert.equal(resumed.status, 1)
    assert.match(
      resumed.stderr,
      /was imported and has no images .*npm run train -- --from .*imported --data <images>/,
    )
    const { status, output } = await fineTune('from-import', '--from', imported)
    assert.equal(status, 0, output)
    assert.equal(openCheckpoint(join(folder, 'from-import')).run.config.dataset.channels, 1)
  })

  test('weights of another network are rejected, and a missing source', async () => {
    const other = await fineTune('never', '--from', run, '--base-channels', '24')
    assert.match(other.output, /Cannot start from .*: only [\d,]+ of [\d,]+ parameters fit the network/)
    const missing = await fineTune('never', '--from', join(folder, 'nowhere'))
    assert.match(missing.output, /Cannot find .*nowhere\. Use the folder of a run/)
    for (const { output, status } of [other, missing]) {
      assert.equal(status, 1)
      assert.doesNotMatch(output, /\n\s+at /)
    }
  })
})

suite('npm run train -- --resume', () => {
  const resume = (...args: string[]) =>
    command(['train', '--resume', join(folder, 'from-run'), '--threads', '1', ...args])

  test('other images: reports how many, and how to fine-tune', async () => {
    await sharp({ create: { width: 20, height: 20, channels: 3, background: 'red' } }).toFile(
      join(images, 'warm/new.png'),
    )
    const { status, stderr } = await resume('--steps', '2')
    assert.equal(status, 1)
    assert.match(
      stderr,
      /differ from those that .* was started with: 1 more:[\s\S]* 1 added \(warm\/new\.png\)\n[\s\S]*npm run train -- --from .* --data <images>/,
    )
    rmSync(join(images, 'warm/new.png'))
  })

  test('a changed image is named, and training continues', async () => {
    const [name] = readdirSync(join(images, 'warm'))
    const path = join(images, 'warm', name!)
    const original = readFileSync(path)
    await sharp({ create: { width: 20, height: 20, channels: 3, background: 'green' } }).toFile(path)
    const changed = await resume()
    writeFileSync(path, original)
    assert.equal(changed.status, 0, changed.stderr)
    assert.match(
      changed.stderr,
      new RegExp(
        `was started with: 1 changed \\(warm/${name}\\)\\. Training continues .*npm run train -- --from`,
      ),
    )
    assert.doesNotMatch((await resume()).stderr, /differ/)
  })

  test('more steps of a finished cosine schedule: reports the jump of the learning rate', async () => {
    const { status, stderr } = await resume('--steps', '3')
    assert.equal(status, 0, stderr)
    assert.match(stderr, /With --steps 3 the learning rate continues at .* instead of /)
  })

  test('without a checkpoint, a run of its own starts again at step 0', async () => {
    const out = join(folder, 'fresh')
    const args = [
      'train',
      '--data',
      'shapes:16',
      '--sampling-steps',
      '2',
      '--base-channels',
      '8',
      '--steps',
      '1',
      '--batch-size',
      '2',
      '--threads',
      '1',
    ]
    assert.equal((await command([...args, '--out', out])).status, 0)
    for (const path of listCheckpoints(out)) rmSync(path)
    const { status, stdout } = await command(['train', '--resume', out])
    assert.equal(status, 0)
    assert.match(stdout, /has no checkpoint yet\. It starts again at step 0\./)
    assert.ok(readFileSync(listCheckpoints(out)[0]!).length > 0)
  })
})
