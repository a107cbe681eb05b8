import { type PredictOptions, Suspension } from '@ddpm/shared'
import { fromFailure, SamplerError } from '../base/errors.ts'
import type { LoadProgress, LoadTask, Reply, Request, SampleTask, Step } from '../base/protocol.ts'
import type { Backend, TaskCallbacks } from './model.ts'

/** Error for a worker script that cannot be loaded, or that fails before it loads a model. */
export class WorkerUnavailable extends SamplerError {
  constructor(script: string) {
    super(
      'offline',
      `Cannot start the worker ${script}. Reload the page. If the file is missing there, copy the files worker-* and ort-* ` +
        'of this package, and pass the address of their folder as "runtime".',
    )
  }
}

/**
 * Starts a worker and loads a model in it.
 * @throws WorkerUnavailable
 * @throws SamplerError if loading fails; the signal's reason when aborted
 */
export function startWorker(
  script: string,
  task: LoadTask,
  onProgress: (progress: LoadProgress) => void,
  signal?: AbortSignal,
): Promise<Backend> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const worker = openWorker(script)
    const abort = () => fail(signal!.reason)
    const fail = (error: unknown) => {
      signal?.removeEventListener('abort', abort)
      worker.terminate()
      reject(error)
    }
    signal?.addEventListener('abort', abort, { once: true })
    worker.onerror = () => fail(new WorkerUnavailable(script))
    worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      if (data.type === 'progress') onProgress(data.progress)
      if (data.type === 'failed') fail(fromFailure(data.failure))
      if (data.type === 'loaded') {
        signal?.removeEventListener('abort', abort)
        resolve(createClient(worker, onProgress))
      }
    }
    worker.postMessage({ type: 'load', ...task } satisfies Request)
  })
}

/** Worker scripts must have the page's origin. For other origins, a blob with the page's origin imports the script. */
function openWorker(script: string): Worker {
  if (new URL(script).origin === location.origin) return new Worker(script, { type: 'module' })
  const blob = new Blob([`import ${JSON.stringify(script)}`], { type: 'text/javascript' })
  return new Worker(URL.createObjectURL(blob), { type: 'module' })
}

interface PendingTask {
  readonly onStep: TaskCallbacks['onStep']
  readonly resolve: (values: readonly Float32Array[]) => void
  readonly reject: (error: unknown) => void
}

function createClient(worker: Worker, onProgress: (progress: LoadProgress) => void): Backend {
  const pending = new Map<number, PendingTask>()
  let nextId = 0

  worker.onmessage = ({ data }: MessageEvent<Reply>) => {
    if (data.type === 'progress') onProgress(data.progress)
    if (data.type === 'steps') for (const step of data.steps) report(data.id, step)
    if (data.type === 'done') pending.get(data.id)?.resolve(data.values)
    if (data.type === 'suspended') pending.get(data.id)?.reject(new Suspension(data.state))
    if (data.type === 'failed' && data.id !== null) pending.get(data.id)?.reject(fromFailure(data.failure))
  }
  /** Catches errors of the callback, so that it still receives the other steps of the same message. */
  const report = (id: number, step: Step) => {
    try {
      pending.get(id)?.onStep?.(step)
    } catch (error) {
      reportError(error)
    }
  }
  const stop = (error: Error | Suspension) => {
    worker.terminate()
    for (const { reject } of pending.values()) reject(error)
    pending.clear()
  }
  worker.onerror = ({ message }) =>
    stop(new Error(`The worker stopped unexpectedly (${message}). Load the model again.`))

  async function send(
    createRequest: (id: number) => Request,
    { onStep, signal }: TaskCallbacks,
  ): Promise<readonly Float32Array[]> {
    signal?.throwIfAborted()
    const id = nextId++
    const abort = () => {
      worker.postMessage({ type: 'abort', id } satisfies Request)
      pending.get(id)?.reject(signal!.reason)
      // Also drops the remaining steps of a message that is being handled.
      pending.delete(id)
    }
    signal?.addEventListener('abort', abort, { once: true })
    try {
      return await new Promise<readonly Float32Array[]>((resolve, reject) => {
        pending.set(id, { onStep, resolve, reject })
        worker.postMessage(createRequest(id))
      })
    } finally {
      pending.delete(id)
      signal?.removeEventListener('abort', abort)
    }
  }

  return {
    async sample(task: SampleTask, callbacks) {
      const [values] = await send((id) => ({ type: 'sample', id, ...task }), callbacks)
      return values!
    },
    async predict(options: PredictOptions, callbacks) {
      const [x0, epsilon] = await send((id) => ({ type: 'predict', id, options }), callbacks)
      return { x0: x0!, epsilon: epsilon! }
    },
    stop,
  }
}
