import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { maxCheckpoints, retainedSteps } from './checkpoint.ts'
import { openMetrics } from './metrics.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-checkpoint-'))
after(() => rmSync(folder, { recursive: true }))

test('of 400 checkpoints, the last three and one per tenth of the run are retained', () => {
  let steps: number[] = []
  let max = 0
  for (let step = 250; step <= 100_000; step += 250) {
    steps = retainedSteps([...steps, step], 100_000, 3)
    max = Math.max(max, steps.length)
    assert.ok(steps.includes(step), `the latest, ${step}, was removed`)
  }
  const tenths = Array.from({ length: 10 }, (_, i) => 10_000 * (i + 1))
  assert.deepEqual(steps, [...tenths.slice(0, 9), 99_500, 99_750, 100_000])
  // Plus the one that is being written.
  assert.ok(max + 1 <= maxCheckpoints(3), `${max} + 1`)
})

test('sparse checkpoints are all retained, and short runs keep the latest', () => {
  assert.deepEqual(retainedSteps([375, 750, 1125, 1500], 1500, 1), [375, 750, 1125, 1500])
  assert.deepEqual(retainedSteps([30, 60, 90, 120, 150], 1000, 2), [120, 150])
})

test('metrics resume after a crash without incomplete lines or repeated steps', () => {
  const path = join(folder, 'metrics.jsonl')
  const lines = [1, 2, 2, 3, 4].map((step) => `{"step":${step},"loss":0.5,"unit":"µ"}\n`)
  writeFileSync(path, `${lines.join('')}{"step":5,"lo`)
  const metrics = openMetrics(path, 3)
  metrics.append({ step: 4, loss: 1 })
  metrics.close()
  assert.equal(readFileSync(path, 'utf8'), `${lines.slice(0, 4).join('')}{"step":4,"loss":1}\n`)
})
