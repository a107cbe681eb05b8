import { errorOf, SamplerError } from '../base/errors.ts'
import type { Loading, LoadProgress, Reply, Request, SampleTask, Step } from '../base/protocol.ts'

/** A worker with a model in it, as the page sees it. */
export interface Remote {
  /** @returns [count, channels, height, width] */
  sample(drawing: SampleTask, calls: Calls): Promise<Float32Array>
  predict(
    options: Extract<Request, { type: 'predict' }>['options'],
    calls: Calls,
  ): Promise<{ x0: Float32Array; epsilon: Float32Array }>
  /** Ends the worker; what was asked fails with the error. */
  end(error: Error): void
}

export interface Calls {
  readonly onStep?: ((step: Step) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

interface Pending {
  readonly onStep: Calls['onStep']
  readonly resolve: (values: readonly Float32Array[]) => void
  readonly reject: (error: unknown) => void
}

/**
 * Starts a worker and loads a model in it.
 * @throws SamplerError as loading does; the signal's reason when aborted
 */
export function startRemote(
  script: URL,
  loading: Loading,
  onProgress: (progress: LoadProgress) => void,
  signal?: AbortSignal,
): Promise<Remote> {
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
    worker.onerror = () =>
      fail(new SamplerError('offline', `The worker ${script} did not start. Reload the page.`))
    worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      if (data.type === 'progress') onProgress(data.progress)
      if (data.type === 'failed') fail(errorOf(data.failure))
      if (data.type === 'loaded') {
        signal?.removeEventListener('abort', abort)
        resolve(remoteOf(worker, onProgress))
      }
    }
    worker.postMessage({ type: 'load', ...loading } satisfies Request)
  })
}

/** A worker's script must be of the page's own origin; elsewhere a blob, which is, imports it. */
function openWorker(script: URL): Worker {
  if (script.origin === location.origin) return new Worker(script, { type: 'module' })
  const blob = new Blob([`import ${JSON.stringify(script.href)}`], { type: 'text/javascript' })
  return new Worker(URL.createObjectURL(blob), { type: 'module' })
}

function remoteOf(worker: Worker, onProgress: (progress: LoadProgress) => void): Remote {
  const pending = new Map<number, Pending>()
  let asked = 0

  worker.onmessage = ({ data }: MessageEvent<Reply>) => {
    if (data.type === 'progress') onProgress(data.progress)
    if (data.type === 'steps') for (const step of data.steps) tell(data.id, step)
    if (data.type === 'done') pending.get(data.id)?.resolve(data.values)
    if (data.type === 'failed' && data.id !== null) pending.get(data.id)?.reject(errorOf(data.failure))
  }
  /** An error of the caller's own must not cost it the steps that came together with this one. */
  const tell = (id: number, step: Step) => {
    try {
      pending.get(id)?.onStep?.(step)
    } catch (error) {
      reportError(error)
    }
  }
  const end = (error: Error) => {
    worker.terminate()
    for (const { reject } of pending.values()) reject(error)
    pending.clear()
  }
  worker.onerror = ({ message }) => end(new Error(`The worker stopped (${message}). Load the model again.`))

  async function ask(
    requestOf: (id: number) => Request,
    { onStep, signal }: Calls,
  ): Promise<readonly Float32Array[]> {
    signal?.throwIfAborted()
    const id = asked++
    const abort = () => {
      worker.postMessage({ type: 'abort', id } satisfies Request)
      pending.get(id)?.reject(signal!.reason)
      // Nor is more told of it, of what has come together with this step.
      pending.delete(id)
    }
    signal?.addEventListener('abort', abort, { once: true })
    try {
      return await new Promise<readonly Float32Array[]>((resolve, reject) => {
        pending.set(id, { onStep, resolve, reject })
        worker.postMessage(requestOf(id))
      })
    } finally {
      pending.delete(id)
      signal?.removeEventListener('abort', abort)
    }
  }

  return {
    async sample(drawing, calls) {
      const [values] = await ask((id) => ({ type: 'sample', id, ...drawing }), calls)
      return values!
    },
    async predict(options, calls) {
      const [x0, epsilon] = await ask((id) => ({ type: 'predict', id, options }), calls)
      return { x0: x0!, epsilon: epsilon! }
    },
    end,
  }
}
