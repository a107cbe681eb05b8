import { setImmediate } from 'node:timers/promises'
import { timedProgress } from './progress.ts'
import { stopOnSignals } from './signals.ts'

/** Reports how much of a task is done. Resolves to true if the task should stop. */
export type ReportProgress = (done: number) => Promise<boolean>

/**
 * Runs a long task and shows a progress bar with the remaining time. The first Ctrl+C requests a stop; the second one
 * ends the process at once.
 * @param total value of `done` at the end of the task
 * @returns the task's result, and the exit code if it was stopped
 */
export async function runLongTask<T>(
  label: string,
  total: number,
  task: (report: ReportProgress) => Promise<T>,
): Promise<{ value: T; stopped: number | null }> {
  const bar = timedProgress(label)
  const stop = stopOnSignals((signal) =>
    bar.log(`${signal}: stopping at the next point from which the task can resume …`),
  )
  try {
    const value = await task(async (done) => {
      // Inference blocks the event loop. Waiting here lets Node deliver pending signals.
      await setImmediate()
      bar.show(done, total)
      return stop.signal !== null
    })
    return { value, stopped: stop.signal === null ? null : stop.exitCode }
  } finally {
    stop.release()
    bar.end()
  }
}
