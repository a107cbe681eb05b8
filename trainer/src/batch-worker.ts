import { parentPort, workerData } from 'node:worker_threads'
import { createSchedule } from '@ddpm/shared'
import { batchMaker } from './batches.ts'
import type { BatchMessage, BatchWorkerData } from './prefetch.ts'

// The thread behind prefetch.ts: a step's number comes in, its batch goes out.
const { dataset, schedule, config, options } = workerData as BatchWorkerData
const batchAt = batchMaker(dataset, createSchedule(schedule), config, options)

parentPort!.on('message', (step: number) => {
  const batch = batchAt(step)
  const memory = Object.values(batch).flatMap((values: Float32Array | null) =>
    values ? [values.buffer] : [],
  )
  parentPort!.postMessage({ step, batch } satisfies BatchMessage, memory as ArrayBuffer[])
})
