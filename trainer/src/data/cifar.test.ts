import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { UserError } from '@ddpm/shared'
import { openData } from './open.ts'

const scratch = await mkdtemp(join(tmpdir(), 'cifar-'))
after(() => rm(scratch, { recursive: true }))
let folders = 0

async function folder(files: Record<string, Uint8Array | string>): Promise<string> {
  const path = join(scratch, String(folders++))
  await mkdir(path)
  for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content)
  return path
}

/** Encodes a record as in the description of the format: a label, then 1024 bytes each of red, green and blue, by row. */
function record(label: number, ...planes: readonly [number, number, number]): Buffer {
  return Buffer.concat([Buffer.of(label), ...planes.map((value) => Buffer.alloc(1024, value))])
}

const names = 'airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n'

test('a folder is read as its training batches in order, with class names', async () => {
  const first = record(9, 10, 20, 30)
  first[1 + 1024 + 5 * 32 + 7] = 99 // green, row 5, column 7
  const path = await folder({
    'data_batch_2.bin': record(3, 1, 2, 3),
    'data_batch_1.bin': Buffer.concat([first, record(0, 40, 50, 60)]),
    'test_batch.bin': record(5, 7, 7, 7),
    'batches.meta.txt': names,
    'readme.html': 'x',
  })
  const dataset = await openData(path, { seed: 0 })
  const { count, channels, height, width, classes, labels, pixels } = dataset
  assert.deepEqual([count, channels, height, width], [3, 3, 32, 32])
  assert.deepEqual(
    [...labels!].map((label) => classes[label]),
    ['truck', 'airplane', 'cat'],
  )
  assert.deepEqual([pixels[0], pixels[1024 + 5 * 32 + 7], pixels[2048]], [10, 99, 30])
  assert.deepEqual([pixels[3072], pixels[2 * 3072 + 2 * 1024]], [40, 3])
})

test('a single file and a folder with only the test batch are read; without names, classes are numbers', async () => {
  const path = await folder({ 'test_batch.bin': record(5, 7, 8, 9) })
  for (const source of [path, join(path, 'test_batch.bin')]) {
    const { count, labels, classes } = await openData(source, { seed: 0, size: 32, channels: 3 })
    assert.deepEqual([count, labels![0], classes.length, classes[5]], [1, 5, 10, '5'])
  }
})

test('invalid files are rejected, and the error names the file', async () => {
  const assertRejected = async (content: Uint8Array, options: object, message: RegExp) => {
    const path = await folder({ 'data_batch_1.bin': content, 'data_batch_2.bin': record(1, 1, 1, 1) })
    await assert.rejects(openData(path, { seed: 0, ...options }), (error) => {
      assert.ok(error instanceof UserError)
      assert.match(error.message, message)
      return true
    })
  }
  await assertRejected(
    record(1, 1, 1, 1).subarray(1),
    {},
    /data_batch_1\.bin is truncated.*multiple of 3073 bytes.*got 3072/,
  )
  await assertRejected(Buffer.of(), {}, /got 0\./)
  await assertRejected(
    record(10, 1, 1, 1),
    {},
    /Invalid label 10 at byte 0 of .*data_batch_1\.bin: expected 0 to 9/,
  )
  const nameless = await folder({ 'data_batch_1.bin': record(1, 1, 1, 1), 'batches.meta.txt': '\n' })
  await assert.rejects(openData(nameless, { seed: 0 }), /batches\.meta\.txt contains no class names/)
  await assertRejected(record(1, 1, 1, 1), { channels: 1 }, /CIFAR-10, which is RGB/)
})
