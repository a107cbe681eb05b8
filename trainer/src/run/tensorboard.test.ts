import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import sharp from 'sharp'
import { missingPackages, runPython } from '../../../test/support/python.ts'
import { openTensorboard } from './tensorboard.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-tensorboard-'))
after(() => rmSync(folder, { recursive: true }))

const script = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]).Reload()
scalars = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
images = {tag: [[e.step, e.width, e.height] for e in events.Images(tag)] for tag in events.Tags()["images"]}
print(json.dumps({"scalars": scalars, "images": images}))
`

test('TensorBoard reads scalars and images, and drops the steps that a resumed run repeats', {
  skip: missingPackages('tensorboard'),
}, async (t) => {
  // TensorBoard orders the files by name: one per second.
  t.mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 })
  const png = await sharp({ create: { width: 20, height: 12, channels: 3, background: 'red' } })
    .png()
    .toBuffer()
  const killed = openTensorboard(folder, 0)
  for (const step of [1, 2, 3]) killed.scalars(step, { 'training/loss': step / 8 })
  killed.close()
  t.mock.timers.tick(5000)
  const resumed = openTensorboard(folder, 2)
  for (const step of [3, 4]) resumed.scalars(step, { 'training/loss': step / 4, 'validation/loss': 1 })
  resumed.image(4, 'samples', png)
  resumed.close()
  const path = join(folder, 'read.py')
  writeFileSync(path, script)
  assert.deepEqual(await runPython(path, [folder]), {
    scalars: {
      'training/loss': [
        [1, 0.125],
        [2, 0.25],
        [3, 0.75],
        [4, 1],
      ],
      'validation/loss': [
        [3, 1],
        [4, 1],
      ],
    },
    images: { samples: [[4, 20, 12]] },
  })
})
