import assert from 'node:assert/strict'
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import type { RunFacts, Update } from './protocol.ts'
import type { ServerCommand, ServerData } from './server.ts'

const folder = mkdtempSync(join(tmpdir(), 'ddpm-dashboard-'))
after(() => rmSync(folder, { recursive: true }))

const facts: RunFacts = {
  name: 'run',
  images: 'two images',
  parameters: 1,
  flops: 1,
  steps: 4,
  batchSize: 1,
  sampleEvery: 1,
  recipe: {},
}

const lines = (from: number, to: number, loss: number) =>
  Array.from({ length: to - from + 1 }, (_, i) =>
    JSON.stringify({ step: from + i, loss, gradientNorm: 1, learningRate: 1, imagesPerSecond: 1 }),
  )
    .map((line) => `${line}\n`)
    .join('')

/** Returns the updates of an event stream. */
async function* updates(url: string): AsyncGenerator<Update> {
  const { body } = await fetch(url)
  let text = ''
  for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
    const events = (text + chunk).split('\n\n')
    text = events.pop()!
    for (const event of events) {
      const data = /^event: update\ndata: (.*)$/.exec(event)?.[1]
      if (data) yield JSON.parse(data) as Update
    }
  }
}

suite('dashboard server', { timeout: 20_000 }, () => {
  test('a resumed run shows no steps that a killed run wrote after its last checkpoint', async (t) => {
    const metrics = join(folder, 'metrics.jsonl')
    const untilCheckpoint = lines(1, 2, 0.5)
    writeFileSync(metrics, untilCheckpoint + lines(3, 4, 0.75))
    const data: ServerData = { folder, port: 0, page: '', facts }
    const worker = new Worker(new URL('server.ts', import.meta.url), { workerData: data })
    t.after(() => worker.terminate())
    const [{ port }] = (await once(worker, 'message')) as [{ port: number }]
    const received = updates(`http://localhost:${port}/events`)
    const first = received.next()
    truncateSync(metrics, untilCheckpoint.length)
    worker.postMessage('begin' satisfies ServerCommand)
    const { value: resumed } = await first
    assert.deepEqual([resumed.from, resumed.steps], [0, [1, 2]])

    appendFileSync(metrics, lines(3, 4, 0.25))
    worker.postMessage('finished' satisfies ServerCommand)
    const steps = [...resumed.steps]
    const losses = [...resumed.values.loss]
    let state: string = resumed.state
    for await (const update of received) {
      steps.splice(update.from, Infinity, ...update.steps)
      losses.splice(update.from, Infinity, ...update.values.loss)
      state = update.state
    }
    assert.equal(state, 'finished')
    assert.deepEqual(steps, [1, 2, 3, 4])
    assert.deepEqual(losses, [0.5, 0.5, 0.25, 0.25])
  })
})
