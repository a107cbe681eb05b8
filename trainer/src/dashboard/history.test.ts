import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { createHistory } from './history.ts'
import { openMetricsReader } from './run-files.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-history-'))
after(() => rmSync(folder, { recursive: true }))

const lossAt = (step: number) => 1 / step
const line = (step: number) =>
  JSON.stringify({
    step,
    loss: lossAt(step),
    gradientNorm: 2,
    learningRate: step * 1e-6,
    imagesPerSecond: 50,
  })

suite('history of a run', () => {
  test('a short history contains every step of metrics.jsonl', () => {
    const history = createHistory(100)
    for (let step = 1; step <= 100; step++) history.add(line(step))
    history.add('{"step": 50, "validationLoss": 0.25}')
    const { stride, steps, values, validation, latest } = history.curves(0)
    assert.equal(stride, 1)
    assert.deepEqual(
      steps,
      Array.from({ length: 100 }, (_, i) => i + 1),
    )
    assert.deepEqual(values.loss, steps.map(lossAt))
    assert.deepEqual(validation, [{ step: 50, loss: 0.25 }])
    assert.deepEqual(latest, JSON.parse(line(100)))
    assert.deepEqual(history.curves(98).steps, [99, 100])
  })

  test('a long history averages neighbouring steps, for any first step', () => {
    for (const first of [1, 38]) {
      const history = createHistory(50)
      for (let step = first; step <= 333; step++) history.add(line(step))
      const { stride, steps, values } = history.curves(0)
      assert.ok(steps.length <= 50 && steps.length > 25, `${steps.length} points`)
      assert.equal(stride, 8)
      for (const [i, end] of steps.entries()) {
        const start = Math.max(first, Math.floor((end - 1) / stride) * stride + 1)
        let sum = 0
        for (let step = start; step <= end; step++) sum += lossAt(step)
        assert.ok(Math.abs(values.loss[i]! - sum / (end - start + 1)) < 1e-12)
      }
      assert.equal(steps.at(-1), 333)
    }
  })

  test('the reader adds appended lines and buffers an incomplete line until it is complete', () => {
    const { history, read } = openMetricsReader(folder)
    assert.equal(read(), false)
    const path = join(folder, 'metrics.jsonl')
    writeFileSync(path, `${line(1)}\n${line(2).slice(0, 20)}`)
    assert.equal(read(), true)
    assert.deepEqual(history.curves(0).steps, [1])
    assert.equal(read(), false)
    appendFileSync(path, `${line(2).slice(20)}\n${line(3)}\nnot JSON\n`)
    assert.equal(read(), true)
    assert.deepEqual(history.curves(0).values.loss, [1, 2, 3].map(lossAt))
  })
})
