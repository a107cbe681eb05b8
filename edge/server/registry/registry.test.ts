import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { formatManifest, type Manifest } from '@ddpm/shared'
import fc from 'fast-check'
import { writeManifest } from '../../../test/support/exported.ts'
import { dyingStorage, intercepted, Killed } from '../../../test/support/faults.ts'
import { memoryStorage } from '../storage/memory.ts'
import { listAll, type Storage } from '../storage/storage.ts'
import { collect } from './collection.ts'
import { Refusal } from './errors.ts'
import { keys } from './keys.ts'
import { listModels } from './listing.ts'
import { findRecord, findVersion, moveAlias, unpublish, versionBefore } from './models.ts'
import { begin, commit, putFile, sha256Of } from './publishing.ts'
import { assembleFile, listParts, putPart } from './uploading.ts'

const octets = 'application/octet-stream'
const sum = (content: Buffer) => createHash('sha256').update(content).digest('hex')

/** A model with its files' contents. */
interface Sample {
  readonly manifest: Manifest
  readonly text: string
  readonly version: string
  readonly contents: readonly Buffer[]
}

function sample(
  name: string,
  description: string,
  contents: readonly Buffer[] = [randomBytes(100), randomBytes(10)],
): Sample {
  const [graph, preview] = contents
  const file = (role: 'graph' | 'preview', path: string, content: Buffer) => ({
    role,
    path,
    mediaType: octets,
    bytes: content.length,
    sha256: sum(content),
  })
  const files = [
    file('graph', 'model.onnx', graph!),
    ...(preview ? [file('preview', 'preview.png', preview)] : []),
  ]
  const manifest = { ...writeManifest(name, files), description }
  const text = formatManifest(manifest)
  return { manifest, text, version: sha256Of(text), contents }
}

async function publish(
  storage: Storage,
  { manifest, text, contents }: Sample,
  aliases: string[] = [],
  now = new Date(),
) {
  const { version, missing } = await begin(storage, text)
  for (const [i, file] of manifest.files.entries()) {
    if (missing.some(({ sha256 }) => sha256 === file.sha256)) await putFile(storage, file, () => contents[i]!)
  }
  return await commit(storage, manifest.name, version, aliases, now)
}

/** Fails where a visitor would see half a model. */
async function assertWhole(storage: Storage): Promise<void> {
  for await (const { key } of listAll(storage, keys.records)) {
    const name = keys.nameOf(key)!
    const record = await findRecord(storage, name)
    if (record === null) continue
    for (const version of [
      ...record.versions.map(({ version }) => version),
      ...Object.values(record.aliases),
    ]) {
      const { manifest } = await findVersion(storage, name, version)
      for (const { sha256, bytes } of manifest.files) {
        assert.equal((await storage.facts(keys.file(sha256)))?.bytes, bytes, `a file of ${name} ${version}`)
      }
    }
    const latest = await findVersion(storage, name)
    assert.equal(record.summary?.version, latest.version)
    assert.equal(record.summary?.description, latest.manifest.description)
  }
}

const filesIn = async (storage: Storage) =>
  (await Array.fromAsync(listAll(storage, keys.files))).map(({ key }) => keys.fileOf(key))

test('published, published again, replaced', async () => {
  const storage = memoryStorage()
  const [one, two] = [sample('ada/shapes', 'one'), sample('ada/shapes', 'two')]
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
    'nothing is left over',
  )
  await assertWhole(storage)
})

test('a publisher that is killed at any step: visitors see the old model or the new, and the rest can be made up', async () => {
  const [old, fresh] = [sample('ada/shapes', 'old'), sample('ada/shapes', 'new')]
  let steps = 0
  for (const done of [false, true]) {
    for (let at = 0; ; at++) {
      const storage = memoryStorage()
      await publish(storage, old)
      const outcome = await publish(dyingStorage(storage, at, done), fresh).catch((error) => error as Error)
      if (!(outcome instanceof Killed)) break
      steps++
      await assertWhole(storage)
      const { models } = await listModels(storage, { limit: 10 })
      const seen = (await findVersion(storage, 'ada/shapes')).text
      assert.ok(seen === old.text || seen === fresh.text)
      assert.equal(models[0]!.description, JSON.parse(seen).description)
      await collect(storage, { keepDays: 0 })
      await assertWhole(storage)
      await publish(storage, fresh)
      assert.equal((await findVersion(storage, 'ada/shapes')).text, fresh.text)
      await collect(storage, { keepDays: 0 })
      await assertWhole(storage)
      await publish(storage, old)
    }
  }
  assert.ok(steps > 15, `${steps} steps`)
})

test('commit refuses what was not announced, what is announced otherwise, and what is not all there', async () => {
  const storage = memoryStorage()
  const one = sample('ada/shapes', 'one')
  await assert.rejects(commit(storage, 'ada/shapes', one.version, []), { reason: 'unknown version' })
  const { missing } = await begin(storage, one.text)
  assert.deepEqual(missing, one.manifest.files)
  await assert.rejects(commit(storage, 'ada/shapes', one.version, []), (error: Refusal) => {
    assert.equal(error.reason, 'missing files')
    assert.match(error.message, /model\.onnx \([0-9a-f]{64}\), preview\.png/)
    return true
  })
  await assert.rejects(commit(storage, 'bob/shapes', one.version, []), { reason: 'invalid' })
  assert.equal(await findRecord(storage, 'ada/shapes'), null)
  const tomorrow = new Date(Date.now() + 30 * 3_600_000)
  await assert.rejects(commit(storage, 'ada/shapes', one.version, [], tomorrow), { reason: 'conflict' })
  await assert.rejects(begin(storage, '{}'), /Invalid manifest/)
})

test('a model of the layout before versions is said to be one, until it is published again', async () => {
  const storage = memoryStorage()
  const one = sample('ada/shapes', 'one')
  await storage.put('models/ada/shapes.json', one.text, { mediaType: 'application/json' })
  await assert.rejects(findVersion(storage, 'ada/shapes'), {
    reason: 'unknown model',
    message:
      'ada/shapes was published before models had versions (found "models/ada/shapes.json" in the store; expected ' +
      '"registry/ada/shapes.json"). Publish it again: npm run publish -- FOLDER --name ada/shapes',
  })
  assert.equal(await publish(storage, one), 'new')
  await unpublish(storage, 'ada/shapes')
  await assert.rejects(
    findVersion(storage, 'ada/shapes'),
    /No model is named "ada\/shapes"; none is published/,
  )
})

test('a file is written once, and only if it is what its hash promises', async () => {
  const storage = memoryStorage()
  const content = randomBytes(50)
  const file = { sha256: sum(content), bytes: 50, mediaType: octets }
  await assert.rejects(
    putFile(storage, file, () => randomBytes(50)),
    { name: 'Mismatch' },
  )
  assert.equal(await storage.facts(keys.file(file.sha256)), null)
  assert.equal(await putFile(storage, file, () => content), true)
  const { version } = (await storage.facts(keys.file(file.sha256)))!
  assert.equal(await putFile(storage, file, () => assert.fail('asked for it again')), false)
  assert.equal((await storage.facts(keys.file(file.sha256)))!.version, version)
})

test('a file in parts: whole or not at all, and its parts gone', async () => {
  const storage = memoryStorage()
  const content = randomBytes(25)
  const file = { sha256: sum(content), bytes: 25, mediaType: octets }
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
  await assert.rejects(assembleFile(storage, file), { name: 'Mismatch' })
  assert.equal(await storage.facts(keys.file(file.sha256)), null)
  assert.deepEqual(await listParts(storage, file.sha256), [], 'wrong parts are not kept')
  for (let i = 0; i < 3; i++) await put(i, content.subarray(i * 10, i * 10 + 10))
  await assert.rejects(assembleFile(dyingStorage(storage, 2, false), file), Killed)
  assert.equal(
    (await listParts(storage, file.sha256)).length,
    3,
    'a store that failed costs no second sending',
  )
  assert.equal(await assembleFile(storage, file), true)
  assert.equal(await assembleFile(storage, file), false)
  assert.deepEqual(await listParts(storage, file.sha256), [])
  assert.equal((await storage.facts(keys.file(file.sha256)))!.bytes, 25)
})

test('rollback and back, and taking back', async () => {
  const storage = memoryStorage()
  const [one, two, three] = ['one', 'two', 'three'].map((text) => sample('ada/shapes', text)) as [
    Sample,
    Sample,
    Sample,
  ]
  for (const each of [one, two, three]) await publish(storage, each)
  assert.equal(await versionBefore(storage, 'ada/shapes'), two.version)
  await moveAlias(storage, 'ada/shapes', 'latest', two.version)
  await assertWhole(storage)
  assert.equal((await findVersion(storage, 'ada/shapes')).text, two.text)
  assert.equal(await versionBefore(storage, 'ada/shapes'), one.version)
  await moveAlias(storage, 'ada/shapes', 'latest', 'latest')
  await moveAlias(storage, 'ada/shapes', 'latest', one.version)
  await assert.rejects(versionBefore(storage, 'ada/shapes'), { reason: 'unknown version' })
  await assert.rejects(moveAlias(storage, 'ada/shapes', 'latest', 'f'.repeat(12)), {
    reason: 'unknown version',
  })

  await unpublish(storage, 'ada/shapes', one.version.slice(0, 12))
  assert.equal(
    (await findVersion(storage, 'ada/shapes')).text,
    three.text,
    'the last that is left is the latest',
  )
  await assertWhole(storage)
  await unpublish(storage, 'ada/shapes')
  assert.equal(await findRecord(storage, 'ada/shapes'), null)
  assert.deepEqual(await listModels(storage, { limit: 10 }), { models: [], next: null })
  await assert.rejects(unpublish(storage, 'ada/shapes'), { reason: 'unknown model' })
  assert.ok(
    (await filesIn(storage)).includes(one.manifest.files[0]!.sha256),
    'addresses work until garbage is collected',
  )
  assert.equal(await publish(storage, two), 'new')
})

test('two that publish one model at once both do', async () => {
  const storage = memoryStorage()
  const samples = Array.from({ length: 6 }, (_, i) => sample('ada/shapes', `number ${i}`))
  await Promise.all(samples.map((each) => publish(storage, each)))
  const record = (await findRecord(storage, 'ada/shapes'))!
  assert.deepEqual(
    record.versions.map(({ version }) => version).sort(),
    samples.map(({ version }) => version).sort(),
  )
  await assertWhole(storage)
})

test('what is collected: what nothing names, once it is old enough', async () => {
  let now = new Date('2026-01-01T00:00:00Z')
  const storage = memoryStorage(() => now)
  const clock = () => now
  const [kept, gone] = [sample('ada/shapes', 'kept'), sample('ada/digits', 'gone')]
  for (const each of [kept, gone]) await publish(storage, each, [], now)
  await storage.put(keys.variant(kept.manifest.files[0]!.sha256, 'br'), 'x', { mediaType: octets })
  await storage.put(keys.variant(gone.manifest.files[0]!.sha256, 'br'), 'x', { mediaType: octets })
  const runtime = sum(Buffer.from('wasm'))
  await storage.put(keys.file(runtime), 'wasm', { mediaType: 'application/wasm' })
  await storage.put(
    keys.runtime,
    JSON.stringify([{ sha256: runtime, bytes: 4, mediaType: 'application/wasm' }]),
    {
      mediaType: 'application/json',
    },
  )
  await unpublish(storage, 'ada/digits')
  assert.equal((await collect(storage, { clock })).removed.length, 0, 'not within a day')
  now = new Date('2026-01-02T00:00:01Z')
  const dry = await collect(storage, { clock, dryRun: true })
  assert.equal(dry.removed.length, 4, 'manifest, two files, one of them compressed, too')
  assert.equal((await filesIn(storage)).length, 9)
  assert.deepEqual(await collect(storage, { clock }), dry)
  assert.equal((await filesIn(storage)).length, 5)
  assert.equal(await storage.facts(keys.file(gone.version)), null)
  assert.ok(await storage.facts(keys.file(runtime)))
  await assertWhole(storage)
  assert.equal((await collect(storage, { clock })).removed.length, 0)
})

test('a record whose manifest is lost stops the collection, and is named', async () => {
  const storage = memoryStorage()
  const one = sample('ada/shapes', 'one')
  await publish(storage, one)
  await storage.remove([keys.file(one.version)])
  await assert.rejects(
    collect(storage, { keepDays: 0 }),
    new RegExp(`${one.version} of ada/shapes is missing`),
  )
  assert.equal(await storage.facts(keys.collection), null, 'the lock is given back')
  assert.equal((await filesIn(storage)).length, 2)
})

test('a lock that was left behind holds nobody for ever', async () => {
  let now = new Date('2026-01-01T00:00:00Z')
  const storage = memoryStorage(() => now)
  await storage.put(keys.collection, '{}', { mediaType: 'application/json' })
  await assert.rejects(collect(storage, { clock: () => now }), { reason: 'busy' })
  now = new Date('2026-01-01T00:31:00Z')
  await collect(storage, { clock: () => now })
  assert.equal(await storage.facts(keys.collection), null)
})

test('publications that were given up are forgotten, after two days', async () => {
  let now = new Date('2026-01-01T00:00:00Z')
  const storage = memoryStorage(() => now)
  const one = sample('ada/shapes', 'one')
  const { missing } = await begin(storage, one.text)
  for (const [i, file] of missing.entries()) await putFile(storage, file, () => one.contents[i]!)
  await putPart(storage, 'a'.repeat(64), 0, new Blob(['x']).stream(), 1)
  now = new Date('2026-01-02T23:00:00Z')
  assert.equal((await collect(storage, { clock: () => now })).removed.length, 0)
  now = new Date('2026-01-03T00:01:00Z')
  assert.equal((await collect(storage, { clock: () => now })).removed.length, 3)
  assert.deepEqual((await storage.list('')).objects, [])
})

test('whatever the order of their steps, a collection takes nothing from a publication', async () => {
  // Every operation of the store waits for its turn, which fast-check deals out.
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.boolean(), async (scheduler, unpublishes) => {
      const store = memoryStorage(() => new Date(Date.now() - 10))
      const shared = [randomBytes(20), randomBytes(10)]
      const [first, second] = [sample('ada/first', 'first', shared), sample('ada/second', 'second', shared)]
      await publish(store, first)
      // Otherwise the file is garbage from the start.
      if (!unpublishes) await unpublish(store, 'ada/first')
      const turns = (label: string) =>
        intercepted(store, async (run, operation, key) => {
          await scheduler.schedule(Promise.resolve(), `${label}: ${operation} ${key}`)
          return await run()
        })
      const patiently = async () => {
        for (;;) {
          try {
            return await publish(turns('publish'), second)
          } catch (error) {
            if (!(error instanceof Refusal && error.reason === 'busy')) throw error
          }
        }
      }
      const tasks = [
        patiently(),
        collect(turns('collect'), { keepDays: 0 }),
        ...(unpublishes ? [unpublish(turns('unpublish'), 'ada/first')] : []),
      ]
      await scheduler.waitFor(Promise.all(tasks))
      await assertWhole(store)
      assert.equal((await findVersion(store, 'ada/second')).text, second.text)
    }),
    { numRuns: 300 },
  )
})

test('names and hashes that are none never become keys', () => {
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
