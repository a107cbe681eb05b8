import { Worker } from 'node:worker_threads'
import type { ScheduleConfig } from '@ddpm/shared'
import type { Dataset } from '../data/dataset/dataset.ts'
import { MissingImageError } from '../data/dataset/gather.ts'
import type { UNetConfig } from '../network/config.ts'
import type { Batch } from '../step/engine.ts'
import type { BatchOptions } from './batches.ts'

/** Start data of the worker thread (prefetch-worker.ts). */
export interface BatchWorkerData {
  readonly dataset: Dataset
  readonly schedule: ScheduleConfig
  readonly config: UNetConfig
  readonly options: BatchOptions
}

/** Message from the worker: the batch of a step, or the message of a MissingImageError. */
export type BatchMessage = { readonly step: number } & (
  | { readonly batch: Batch }
  | { readonly missing: string }
)

export interface Prefetch {
  /**
   * Returns the batch of a step. Steps must be requested in order.
   * @throws MissingImageError if an image file can no longer be read
   */
  batchAt(step: number): Promise<Batch>
  close(): Promise<void>
}

/**
 * Number of batches that are made in advance. One is enough to prepare the data while a training step runs. More would need
 * much memory: with elementwise dropout, a batch of the published CIFAR-10 network takes half a gigabyte.
 */
const maxAhead = 1

/**
 * Makes batches in a worker thread while the previous step runs. A thread is necessary because an engine may block the main
 * thread for a whole step. The memory of a batch is transferred, not copied.
 * @param data start data of the thread. Pixels in a SharedArrayBuffer are shared with the thread; other data is copied.
 * @param until end of the steps (exclusive); no batch is made for this step or later ones
 */
export function prefetch(data: BatchWorkerData, until: number): Prefetch {
  const worker = new Worker(new URL('prefetch-worker.ts', import.meta.url), { workerData: data })
  /** Requested batches that batchAt has not yet returned, by step. */
  const promises = new Map<number, Promise<Batch>>()
  /** Requests that the worker has not yet answered, by step. */
  const pending = new Map<number, { resolve(batch: Batch): void; reject(error: Error): void }>()
  worker.on('message', (message: BatchMessage) => {
    const request = pending.get(message.step)
    if ('batch' in message) request?.resolve(message.batch)
    else request?.reject(new MissingImageError(message.missing))
    pending.delete(message.step)
  })
  worker.on('error', (error: Error) => {
    for (const { reject } of pending.values()) reject(error)
  })

  function request(step: number): void {
    if (promises.has(step)) return
    const promise = new Promise<Batch>((resolve, reject) => pending.set(step, { resolve, reject }))
    // Node must not report an unhandled rejection before batchAt returns the promise to its caller.
    promise.catch(() => {})
    promises.set(step, promise)
    worker.postMessage(step)
  }

  return {
    batchAt(step) {
      for (let next = step; next <= step + maxAhead && next < until; next++) request(next)
      const promise = promises.get(step)
      promises.delete(step)
      return promise ?? Promise.reject(new Error(`Invalid step ${step}: expected a step before ${until}.`))
    },
    async close() {
      await worker.terminate()
    },
  }
}
