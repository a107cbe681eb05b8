import { parentPort, workerData } from 'node:worker_threads'
import { createSchedule } from '@ddpm/shared'
import { ImageMissing } from '../data/gather.ts'
import { batchReader } from './batches.ts'
import type { BatchMessage, BatchWorkerData } from './prefetch.ts'

// The thread behind prefetch.ts: a step's number comes in, its batch goes out.
const { dataset, schedule, config, options } = workerData as BatchWorkerData
const batchAt = batchReader(dataset, createSchedule(schedule), config, options)
const port = parentPort!

port.on('message', async (step: number) => {
  try {
    const batch = await batchAt(step)
    const memory = Object.values(batch).flatMap((values: Float32Array | null) =>
      values ? [values.buffer] : [],
    )
    port.postMessage({ step, batch } satisfies BatchMessage, memory as ArrayBuffer[])
  } catch (error) {
    if (!(error instanceof ImageMissing)) throw error
    port.postMessage({ step, gone: error.message } satisfies BatchMessage)
  }
})
