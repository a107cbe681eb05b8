import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { maxCheckpoints, retainedSteps } from './checkpoint.ts'
import { openMetrics } from './metrics.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-checkpoint-'))
after(() => rmSync(folder, { recursive: true }))

test('of 100,000 steps with a checkpoint every 250, the last three and one per tenth stay, at any time', () => {
  let steps: number[] = []
  let most = 0
  for (let step = 250; step <= 100_000; step += 250) {
    steps = retainedSteps([...steps, step], 100_000, 3)
    most = Math.max(most, steps.length)
    assert.ok(steps.includes(step), `the latest, ${step}, is gone`)
  }
  const tenths = Array.from({ length: 10 }, (_, i) => 10_000 * (i + 1))
  assert.deepEqual(steps, [...tenths.slice(0, 9), 99_500, 99_750, 100_000])
  // While one is written, one more is there.
  assert.ok(most + 1 <= maxCheckpoints(3), `${most} and one more`)
})

test('checkpoints further apart than a tenth all stay; steps between tenths do too', () => {
  assert.deepEqual(retainedSteps([375, 750, 1125, 1500], 1500, 1), [375, 750, 1125, 1500])
  assert.deepEqual(retainedSteps([30, 60, 90, 120, 150], 1000, 2), [120, 150])
})

test('metrics go on after a crash without half a line, and with no step twice', () => {
  const path = join(folder, 'metrics.jsonl')
  const lines = [1, 2, 2, 3, 4].map((step) => `{"step":${step},"loss":0.5,"unit":"µ"}\n`)
  writeFileSync(path, `${lines.join('')}{"step":5,"lo`)
  const metrics = openMetrics(path, 3)
  metrics.append({ step: 4, loss: 1 })
  metrics.close()
  assert.equal(readFileSync(path, 'utf8'), `${lines.slice(0, 4).join('')}{"step":4,"loss":1}\n`)
})
