import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { dyingStorage, Killed } from '../../../test/support/faults.ts'
import {
  assertConsistent,
  createModel,
  listFiles,
  octets,
  publish,
  sha256Of,
  type TestModel,
} from '../../../test/support/registry.ts'
import { memoryStorage } from '../storage/memory.ts'
import { listAll } from '../storage/storage.ts'
import type { RegistryError } from './errors.ts'
import { collectGarbage } from './garbage-collection.ts'
import { keys } from './keys.ts'
import { listModels } from './listing.ts'
import { findRecord, findVersion, moveAlias, unpublish } from './models.ts'
import { begin, commit, putFile } from './publishing.ts'
import { previousVersion } from './record.ts'
import { assembleFile, listParts, putPart } from './uploading.ts'
import { verifyFile } from './verification.ts'

test('publishes a model, publishes it again, replaces it', async () => {
  const storage = memoryStorage()
  const [one, two] = [createModel('ada/shapes', 'one'), createModel('ada/shapes', 'two')]
  assert.equal(await publish(storage, one), 'new')
  assert.equal(await publish(storage, one), 'unchanged')
  assert.equal(await publish(storage, one, ['stable']), 'changed')
  assert.equal(await publish(storage, two), 'changed')
  const record = (await findRecord(storage, 'ada/shapes'))!
  assert.deepEqual(
    record.versions.map(({ version }) => version),
    [one.version, two.version],
  )
  assert.deepEqual(record.aliases, { latest: two.version, stable: one.version })
  for (const [reference, expected] of [
    ['latest', two],
    ['stable', one],
    [one.version, one],
    [one.version.slice(0, 12), one],
    [one.version.slice(0, 40), one],
  ] as const) {
    assert.equal((await findVersion(storage, 'ada/shapes', reference)).text, expected.text, reference)
  }
  for (const reference of [
    '',
    'none',
    one.version.slice(0, 11),
    'f'.repeat(64),
    'constructor',
    '__proto__',
  ]) {
    await assert.rejects(
      findVersion(storage, 'ada/shapes', reference),
      { reason: 'unknown version' },
      reference,
    )
  }
  assert.deepEqual(
    (await Array.fromAsync(listAll(storage, keys.publications))).length,
    0,
    'no announcement remains',
  )
  await assertConsistent(storage)
})

test('a publisher killed at any step: visitors see the old or the new model, and the publication can be repeated', async () => {
  const [old, fresh] = [createModel('ada/shapes', 'old'), createModel('ada/shapes', 'new')]
  let steps = 0
  for (const done of [false, true]) {
    for (let at = 0; ; at++) {
      const storage = memoryStorage()
      await publish(storage, old)
      const outcome = await publish(dyingStorage(storage, at, done), fresh).catch((error) => error as Error)
      if (!(outcome instanceof Killed)) break
      steps++
      await assertConsistent(storage)
      const { models } = await listModels(storage, { limit: 10 })
      const seen = (await findVersion(storage, 'ada/shapes')).text
      assert.ok(seen === old.text || seen === fresh.text)
      assert.ok(models[0]!.description === 'old' || models[0]!.description === 'new')
      await collectGarbage(storage, { keepDays: 0 })
      await assertConsistent(storage)
      const listed = (await listModels(storage, { limit: 10 })).models[0]!
      assert.equal(listed.description, JSON.parse(seen).description)
      await publish(storage, fresh)
      assert.equal((await findVersion(storage, 'ada/shapes')).text, fresh.text)
      await collectGarbage(storage, { keepDays: 0 })
      await assertConsistent(storage)
      await publish(storage, old)
    }
  }
  assert.ok(steps > 15, `${steps} steps`)
})

test('commit rejects a version that was not announced, another name, and missing files', async () => {
  const storage = memoryStorage()
  const one = createModel('ada/shapes', 'one')
  await assert.rejects(commit(storage, 'ada/shapes', one.version, []), { reason: 'unknown version' })
  const { missing } = await begin(storage, one.text)
  assert.deepEqual(missing, one.manifest.files)
  await assert.rejects(commit(storage, 'ada/shapes', one.version, []), (error: RegistryError) => {
    assert.equal(error.reason, 'missing files')
    assert.match(error.message, /model\.onnx \([0-9a-f]{64}\), preview\.png/)
    return true
  })
  await assert.rejects(commit(storage, 'bob/shapes', one.version, []), { reason: 'invalid' })
  assert.equal(await findRecord(storage, 'ada/shapes'), null)
  const tomorrow = new Date(Date.now() + 30 * 3_600_000)
  await assert.rejects(commit(storage, 'ada/shapes', one.version, [], { now: tomorrow }), {
    reason: 'conflict',
  })
  await assert.rejects(begin(storage, '{}'), /Invalid manifest/)
})

test('a model in the layout before versions is reported as such until it is published again', async () => {
  const storage = memoryStorage()
  const one = createModel('ada/shapes', 'one')
  await storage.put('models/ada/shapes.json', one.text, { mediaType: 'application/json' })
  await assert.rejects(findVersion(storage, 'ada/shapes'), {
    reason: 'unknown model',
    message:
      'Cannot read ada/shapes: it was published in the layout before models had versions (expected ' +
      '"registry/ada/shapes.json" in the store, got "models/ada/shapes.json"). ' +
      'Publish it again: npm run publish -- FOLDER --name ada/shapes',
  })
  assert.equal(await publish(storage, one), 'new')
  await unpublish(storage, 'ada/shapes')
  await assert.rejects(
    findVersion(storage, 'ada/shapes'),
    /Unknown model "ada\/shapes"\. No model is published/,
  )
})

test('a file is written once, and only if its hash matches', async () => {
  const storage = memoryStorage()
  const content = randomBytes(50)
  const file = { sha256: sha256Of(content), bytes: 50, mediaType: octets }
  await assert.rejects(
    putFile(storage, file, () => randomBytes(50)),
    { name: 'ContentMismatch' },
  )
  assert.equal(await storage.head(keys.file(file.sha256)), null)
  assert.equal(await putFile(storage, file, () => content), true)
  const { version } = (await storage.head(keys.file(file.sha256)))!
  assert.equal(await putFile(storage, file, () => assert.fail('wrote the content again')), false)
  assert.equal((await storage.head(keys.file(file.sha256)))!.version, version)
})

test('a damaged file and a damaged manifest of the right size are replaced', async () => {
  const storage = memoryStorage()
  const model = createModel('ada/shapes', 'damaged')
  await publish(storage, model)
  const [graph] = model.manifest.files
  const files = [graph!, { sha256: model.version, bytes: Buffer.byteLength(model.text) }]
  for (const { sha256, bytes } of files) {
    await storage.put(keys.file(sha256), Buffer.alloc(bytes), { mediaType: octets })
    assert.equal(await verifyFile(storage, { sha256, bytes }), 'damaged')
  }
  assert.equal(await putFile(storage, graph!, () => model.contents[0]!), true)
  await publish(storage, model)
  for (const file of files) assert.equal(await verifyFile(storage, file), 'intact')
  assert.equal(await verifyFile(storage, { sha256: '0'.repeat(64), bytes: 1 }), 'missing')
})

test('a file in parts is stored completely or not at all, and its parts are removed', async () => {
  const storage = memoryStorage()
  const content = randomBytes(25)
  const file = { sha256: sha256Of(content), bytes: 25, mediaType: octets }
  const stream = (part: Buffer) => new Blob([part as BlobPart]).stream()
  const put = (index: number, part: Buffer) => putPart(storage, file.sha256, index, stream(part), part.length)
  await put(0, content.subarray(0, 10))
  await put(2, content.subarray(20))
  await assert.rejects(assembleFile(storage, file), { reason: 'missing files' })
  assert.deepEqual(await listParts(storage, file.sha256), [
    { index: 0, bytes: 10 },
    { index: 2, bytes: 5 },
  ])
  await put(1, randomBytes(10))
  await assert.rejects(assembleFile(storage, file), { name: 'ContentMismatch' })
  assert.equal(await storage.head(keys.file(file.sha256)), null)
  assert.deepEqual(await listParts(storage, file.sha256), [], 'parts with wrong content are removed')
  for (let i = 0; i < 3; i++) await put(i, content.subarray(i * 10, i * 10 + 10))
  await assert.rejects(assembleFile(dyingStorage(storage, 2, false), file), Killed)
  assert.equal((await listParts(storage, file.sha256)).length, 3, 'parts remain after a failure of the store')
  assert.equal(await assembleFile(storage, file), true)
  assert.equal(await assembleFile(storage, file), false)
  assert.deepEqual(await listParts(storage, file.sha256), [])
  assert.equal((await storage.head(keys.file(file.sha256)))!.bytes, 25)
})

test('rollback, forward again, and unpublish', async () => {
  const storage = memoryStorage()
  const [one, two, three] = ['one', 'two', 'three'].map((text) => createModel('ada/shapes', text)) as [
    TestModel,
    TestModel,
    TestModel,
  ]
  for (const each of [one, two, three]) await publish(storage, each)
  const previous = async () => previousVersion((await findRecord(storage, 'ada/shapes'))!)
  assert.equal(await previous(), two.version)
  await moveAlias(storage, 'ada/shapes', 'latest', two.version)
  await assertConsistent(storage)
  assert.equal((await findVersion(storage, 'ada/shapes')).text, two.text)
  assert.equal(await previous(), one.version)
  await moveAlias(storage, 'ada/shapes', 'latest', 'latest')
  await moveAlias(storage, 'ada/shapes', 'latest', one.version)
  await assert.rejects(previous(), { reason: 'unknown version' })
  await assert.rejects(moveAlias(storage, 'ada/shapes', 'latest', 'f'.repeat(12)), {
    reason: 'unknown version',
  })

  await unpublish(storage, 'ada/shapes', one.version.slice(0, 12))
  assert.equal(
    (await findVersion(storage, 'ada/shapes')).text,
    three.text,
    'the newest remaining version becomes the latest',
  )
  await assertConsistent(storage)
  await unpublish(storage, 'ada/shapes')
  assert.equal(await findRecord(storage, 'ada/shapes'), null)
  assert.deepEqual(await listModels(storage, { limit: 10 }), { models: [], next: null })
  await assert.rejects(unpublish(storage, 'ada/shapes'), { reason: 'unknown model' })
  assert.ok(
    (await listFiles(storage)).includes(one.manifest.files[0]!.sha256),
    'files remain until the garbage collection',
  )
  assert.equal(await publish(storage, two), 'new')
})

test('concurrent publications of one model all succeed', async () => {
  const storage = memoryStorage()
  const models = Array.from({ length: 6 }, (_, i) => createModel('ada/shapes', `number ${i}`))
  await Promise.all(models.map((each) => publish(storage, each)))
  const record = (await findRecord(storage, 'ada/shapes'))!
  assert.deepEqual(
    record.versions.map(({ version }) => version).sort(),
    models.map(({ version }) => version).sort(),
  )
  await assertConsistent(storage)
})

test('invalid names and hashes never become keys', () => {
  for (const name of [
    '../x',
    'a/../b',
    'a',
    'a/b/c',
    'a//b',
    'ä/b',
    'a/b\0',
    'a%2fb/c',
    ' a/b',
    'a/.b',
    'a/b\n',
  ]) {
    assert.throws(() => keys.record(name), /expected owner/, JSON.stringify(name))
  }
  for (const hash of [
    '',
    'A'.repeat(64),
    'a'.repeat(63),
    'a'.repeat(65),
    `${'a'.repeat(63)}/`,
    `${'a'.repeat(64)}\n`,
  ]) {
    for (const make of [keys.file, keys.publication, keys.parts]) {
      assert.throws(() => make(hash), /expected/, JSON.stringify(hash))
    }
  }
  for (const index of [-1, 1.5, Number.NaN, 100_000, 1e21])
    assert.throws(() => keys.part('a'.repeat(64), index))
})
