import assert from 'node:assert/strict'
import { test } from 'node:test'
import { paperSchedule } from '../diffusion/schedule.ts'
import { formatManifest, type Manifest, modelName, parseManifest } from './manifest.ts'
import { toSchedulerConfig } from './scheduler-config.ts'

const valid: Manifest = {
  version: 1,
  name: 'me/kittens',
  description: 'Kittens.',
  licence: 'CC-BY-4.0',
  shape: { channels: 3, height: 32, width: 32 },
  classes: [],
  files: [
    {
      role: 'graph',
      path: 'model.onnx',
      mediaType: 'application/octet-stream',
      bytes: 5,
      sha256: 'a'.repeat(64),
    },
  ],
  inputs: { sample: 'x', timestep: 'timestep', label: null },
  output: 'output',
  training: {
    recipe: 'images',
    data: 'kittens',
    pictures: 100,
    parameters: 1000,
    steps: 10,
    batchSize: 4,
    seconds: 3,
    weights: 'ema',
    loss: 0.1,
    validationLoss: null,
  },
  scheduler: toSchedulerConfig(paperSchedule, 'epsilon'),
  sampling: { sampler: 'ddim', steps: 50, spacing: 'trailing', guidance: 1 },
}

function assertRejected(change: object, message: RegExp): void {
  const text = JSON.stringify({ ...valid, ...change })
  assert.throws(() => parseManifest(text, 'manifest.json'), { name: 'UserError', message })
}

test('a formatted manifest is parsed to the same value', () => {
  assert.deepEqual(parseManifest(formatManifest(valid), 'manifest.json'), valid)
})

test('errors name the invalid field and what was expected', () => {
  assert.throws(() => parseManifest('{', 'here.json'), /Invalid manifest here\.json: expected JSON/)
  assertRejected({ version: 2 }, /expected version 1 or earlier, got 2/)
  assertRejected({ name: 'kittens' }, /owner\/name.*\n?.*name/)
  assertRejected({ files: [{ ...valid.files[0], sha256: 'xyz' }] }, /SHA-256[\s\S]*files\[0\]\.sha256/)
  assertRejected({ files: [] }, /exactly one file with the role "graph"/)
  assertRejected({ files: [{ ...valid.files[0], path: '../evil' }] }, /plain file name/)
  assertRejected({ shape: { channels: 3, height: -1, width: 32 } }, /shape\.height/)
  assertRejected({ surprise: 1 }, /surprise/)
})

test('media types that a browser would run as a page are rejected', () => {
  for (const mediaType of ['text/html', 'image/svg+xml', 'text/javascript', 'image/png\r\nSet-Cookie: x']) {
    assertRejected(
      { files: [{ ...valid.files[0], mediaType }] },
      /"application\/octet-stream"[\s\S]*files\[0\]\.mediaType/,
    )
  }
})

test('scheduler options that are not implemented are rejected by name, not ignored', () => {
  assertRejected({ scheduler: { ...valid.scheduler, variance_type: 'learned' } }, /scheduler\.variance_type/)
  assertRejected(
    { scheduler: { ...valid.scheduler, beta_schedule: 'scaled_linear' } },
    /scheduler\.beta_schedule/,
  )
  assertRejected({ scheduler: { ...valid.scheduler, solver_order: 2 } }, /solver_order/)
})

test('model names are owner/name and cannot contain path traversal', () => {
  for (const name of ['a/b', 'Some-one/model_2.0', 'a.b.c/d.e.'])
    assert.ok(modelName.safeParse(name).success, name)
  for (const name of [
    'a',
    'a/b/c',
    '../b',
    'a/..',
    '.a/b',
    'a..b/c',
    'a/b..',
    'a/b ',
    'ä/b',
    'a%2fb/c',
    '',
  ]) {
    assert.ok(!modelName.safeParse(name).success, name)
  }
})
