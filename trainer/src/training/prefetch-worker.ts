// The worker thread of prefetch.ts: receives step numbers and posts their batches.
import { parentPort, workerData } from 'node:worker_threads'
import { createSchedule } from '@ddpm/shared'
import { MissingImageError } from '../data/dataset/gather.ts'
import { createBatchReader } from './batches.ts'
import type { BatchMessage, BatchWorkerData } from './prefetch.ts'

const { dataset, schedule, config, options } = workerData as BatchWorkerData
const batchAt = createBatchReader(dataset, createSchedule(schedule), config, options)
const port = parentPort!

port.on('message', async (step: number) => {
  try {
    const batch = await batchAt(step)
    const buffers = Object.values(batch).flatMap((values: Float32Array | null) =>
      values ? [values.buffer] : [],
    )
    port.postMessage({ step, batch } satisfies BatchMessage, buffers as ArrayBuffer[])
  } catch (error) {
    if (!(error instanceof MissingImageError)) throw error
    port.postMessage({ step, missing: error.message } satisfies BatchMessage)
  }
})
