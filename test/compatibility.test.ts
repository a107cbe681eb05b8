// Files and images of version 0.1.0: the files must still load, and the same seed must still give the same image. See
// test/compatibility/README.md.
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { load } from 'ddpm-sampler/node'
import sharp from 'sharp'
import { listModels } from '../edge/server/registry/listing.ts'
import { findVersion } from '../edge/server/registry/models.ts'
import { folderStorage } from '../edge/server/storage/folder.ts'
import { command } from './support/command.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const fixtures = join(root, 'test/compatibility')
const scratch = mkdtempSync(join(tmpdir(), 'ddpm-compatibility-'))
after(() => rmSync(scratch, { recursive: true }))

const run = join(scratch, 'run')
cpSync(join(fixtures, 'run'), run, { recursive: true })

interface Case {
  readonly grid: string
  readonly model: 'run' | 'shapes' | 'digits'
  readonly args: readonly string[]
}
const cases: Case[] = JSON.parse(readFileSync(join(fixtures, 'grids/cases.json'), 'utf8'))

/** Asserts that two image files differ by at most 2/255. Processors may round sums differently. */
async function assertSameImage(path: string, expected: string): Promise<void> {
  const [a, b] = await Promise.all([path, expected].map((file) => sharp(file).raw().toBuffer()))
  assert.equal(a!.length, b!.length)
  let worst = 0
  for (let i = 0; i < a!.length; i++) worst = Math.max(worst, Math.abs(a![i]! - b![i]!))
  assert.ok(worst <= 2, `${path} differs from ${expected} by up to ${worst}/255`)
}

suite('the same seed gives the same images as version 0.1.0', () => {
  for (const { grid, model, args } of cases) {
    test(grid, async () => {
      const source = model === 'run' ? run : join(root, 'edge/models', model)
      const paths = args.map((arg) => (arg.startsWith('export/') ? join(run, arg) : arg))
      const out = join(scratch, grid)
      const { status, stderr } = await command(['sample', source, ...paths, '--scale', '1', '--out', out])
      assert.equal(status, 0, stderr)
      await assertSameImage(out, join(fixtures, 'grids', grid))
    })
  }
})

suite('files of version 0.1.0 load', () => {
  test('a run resumes from its checkpoint, with the same loss as in version 0.1.0', async () => {
    const copy = join(scratch, 'resumed')
    cpSync(run, copy, { recursive: true })
    const { status, stderr } = await command(['train', '--resume', copy, '--steps', '24', '--device', 'cpu'])
    assert.equal(status, 0, stderr)
    const lines = readFileSync(join(copy, 'metrics.jsonl'), 'utf8').trim().split('\n')
    const last = lines.map((line) => JSON.parse(line)).findLast(({ loss }) => loss !== undefined)
    assert.equal(last.step, 24)
    assert.ok(Math.abs(last.loss - 0.6268582344) < 1e-4, `loss ${last.loss}`)
  })

  test('an exported model generates in Node', async () => {
    const model = await load(join(run, 'export'))
    const [image] = await model.sample({ seed: 1, steps: 2 })
    assert.equal(image!.values.length, 3 * 32 * 32)
    assert.ok(image!.values.every(Number.isFinite))
    model.dispose()
  })

  test('a registry folder lists its model, with its version and manifest', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ddpm-registry-'))
    cpSync(join(fixtures, 'registry'), folder, { recursive: true })
    const storage = folderStorage(folder)
    const { models } = await listModels(storage, { limit: 10 })
    assert.deepEqual(
      models.map(({ name }) => name),
      ['test/old'],
    )
    const { manifest, version } = await findVersion(storage, 'test/old')
    assert.match(version, /^78a8f87c0525/)
    assert.equal(manifest.training.pictures, 4096)
    rmSync(folder, { recursive: true })
  })
})
