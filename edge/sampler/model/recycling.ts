import { Suspension } from '@ddpm/shared'
import type { Backend } from './model.ts'

/**
 * Max number of forward passes per worker, or null for no limit. Safari on iOS crashes after about 500 passes on WebGPU
 * (https://github.com/microsoft/onnxruntime/issues/27584). One step can need several passes, hence the margin.
 */
export function maxRunsOf({ userAgent, maxTouchPoints }: Navigator): number | null {
  // iPads present themselves as Macs, which have no touch screens. All browsers on iOS use Safari's engine.
  const isIos = /iPhone|iPad|iPod/.test(userAgent) || (/Macintosh/.test(userAgent) && maxTouchPoints > 1)
  return isIos ? 400 : null
}

/**
 * Creates a backend that replaces its worker when the worker suspends a task. The task resumes in the new worker, with the
 * same result.
 * @param first the first worker
 * @param start starts another worker
 */
export function createRecyclingBackend(first: Backend, start: () => Promise<Backend>): Backend {
  let current = first
  let next: Promise<Backend> | null = null
  let stopped: Error | Suspension | null = null

  async function replace(used: Backend): Promise<void> {
    if (used !== current) return
    next ??= (async () => {
      // Other tasks of the worker start again, or resume where they were suspended before.
      used.stop(new Suspension(null))
      current = await start()
      return current
    })().finally(() => {
      next = null
    })
    await next
    if (stopped) current.stop(stopped)
  }

  return {
    async sample(task, callbacks) {
      let { resume } = task
      for (;;) {
        const used = current
        try {
          return await used.sample(resume ? { ...task, resume } : task, callbacks)
        } catch (error) {
          if (!(error instanceof Suspension)) throw error
          resume = error.state ?? resume
          await replace(used)
        }
      }
    },
    async predict(task, callbacks) {
      for (;;) {
        const used = current
        try {
          return await used.predict(task, callbacks)
        } catch (error) {
          if (!(error instanceof Suspension)) throw error
          await replace(used)
        }
      }
    },
    stop(error) {
      stopped = error
      current.stop(error)
    },
  }
}
