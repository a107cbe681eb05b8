// Measures the processor time of requests to a registry with many models, on both hosts.

import { readIndex, replaceIndex } from '../../edge/server/registry/model-index.ts'
import { summarize } from '../../edge/server/registry/record.ts'
import type { Storage } from '../../edge/server/storage/storage.ts'
import { createManifest } from '../../test/support/exported.ts'
import { processorTime } from './processor-time.ts'
import type { Contender } from './servers.ts'

/** Requests per measurement. */
const requests = 300

const paths = [
  '/api/models',
  '/api/models?q=00042',
  '/api/models?q=nothing',
  '/api/models/ada/unknown',
  '/healthz',
  '/api/openapi.json',
]

/** Replaces the list of models by one with `count` models, which have no records. */
export async function writeIndex(storage: Storage, count: number): Promise<void> {
  const text = 'A model of a description of usual length, trained on a folder of images.'
  const classes = ['circle', 'square', 'triangle', 'star', 'heart', 'cross']
  const summaries = Array.from({ length: count }, (_, i) => {
    const name = `ada/model-${String(i).padStart(5, '0')}`
    return summarize(
      { ...createManifest(name, []), description: text, classes },
      'a'.repeat(64),
      '2026-01-01T00:00:00.000Z',
    )
  })
  await replaceIndex(storage, await readIndex(storage), summaries)
}

/** Prints the mean processor time per request of each server in milliseconds. */
export async function manyModels(all: readonly Contender[], count: number): Promise<void> {
  console.log(`\n| ms of processor time, ${count} models | ${paths.join(' | ')} |`)
  console.log(`| --- | ${paths.map(() => '---').join(' | ')} |`)
  for (const { name, url, pid, servesModels } of all) {
    if (pid === null || !servesModels) continue
    const cells = []
    for (const path of paths) {
      await request(url, path)
      const before = processorTime(pid)
      for (let i = 0; i < requests; i++) await request(url, path)
      cells.push((processorTime(pid) - before) / requests)
    }
    console.log(`| ${name} | ${cells.map((ms) => ms.toFixed(2)).join(' | ')} |`)
  }
}

async function request(url: string, path: string): Promise<void> {
  await (await fetch(`${url}${path}`)).arrayBuffer()
}
