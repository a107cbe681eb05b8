import { Worker } from 'node:worker_threads'
import type { ScheduleConfig } from '@ddpm/shared'
import type { Dataset } from '../data/dataset.ts'
import { ImageMissing } from '../data/gather.ts'
import type { UNetConfig } from '../network/unet.ts'
import type { Batch } from '../step/engine.ts'
import type { BatchOptions } from './batches.ts'

/** What the thread that makes batches is started with. */
export interface BatchWorkerData {
  readonly dataset: Dataset
  readonly schedule: ScheduleConfig
  readonly config: UNetConfig
  readonly options: BatchOptions
}

/** What it answers a step's number with: its batch, or why there is none. */
export type BatchMessage = { readonly step: number } & ({ readonly batch: Batch } | { readonly gone: string })

export interface Prefetch {
  /** The batch of a step; steps are asked for one after the other. */
  batchAt(step: number): Promise<Batch>
  close(): Promise<void>
}

/**
 * Batches that are made while a step runs. One hides all that can be hidden, and with elementwise dropout a batch of the
 * published CIFAR-10 network takes half a gigabyte.
 */
const ahead = 1

/**
 * The batches of batchReader, made in a thread of its own while the step before them runs: an engine may block this one
 * from beginning to end. Their memory changes hands and is not copied.
 * @param data its pixels are shared with the thread where they lie in a SharedArrayBuffer, and copied otherwise
 * @param until makes none from this step on
 */
export function prefetch(data: BatchWorkerData, until: number): Prefetch {
  const worker = new Worker(new URL('batch-worker.ts', import.meta.url), { workerData: data })
  const promises = new Map<number, Promise<Batch>>()
  const waiting = new Map<number, { resolve(batch: Batch): void; reject(error: Error): void }>()
  worker.on('message', (message: BatchMessage) => {
    const asker = waiting.get(message.step)
    if ('batch' in message) asker?.resolve(message.batch)
    else asker?.reject(new ImageMissing(message.gone))
    waiting.delete(message.step)
  })
  worker.on('error', (error: Error) => {
    for (const { reject } of waiting.values()) reject(error)
  })

  function request(step: number): void {
    if (promises.has(step)) return
    const promise = new Promise<Batch>((resolve, reject) => waiting.set(step, { resolve, reject }))
    // A failure is heard of by whoever asks for the batch.
    promise.catch(() => {})
    promises.set(step, promise)
    worker.postMessage(step)
  }

  return {
    batchAt(step) {
      for (let next = step; next <= step + ahead && next < until; next++) request(next)
      const promise = promises.get(step)
      promises.delete(step)
      return promise ?? Promise.reject(new Error(`Step ${step} is not before ${until}.`))
    },
    async close() {
      await worker.terminate()
    },
  }
}
