import { setImmediate } from 'node:timers/promises'
import { formatLeft } from '../../support/duration.ts'
import { progressBar } from './progress.ts'
import { stopOnSignals } from './signals.ts'

/** Tells how far work is; resolves to true where it shall stop. */
export type Report = (done: number) => Promise<boolean>

/**
 * Carries out long work under a bar with the time left. The first Ctrl+C asks it to stop, the second one ends the process.
 * @param total what `done` will be at the end
 * @returns what the work returns, and the exit code where it was asked to stop
 */
export async function working<T>(
  label: string,
  total: number,
  work: (report: Report) => Promise<T>,
): Promise<{ value: T; stopped: number | null }> {
  const bar = progressBar(label)
  const stop = stopOnSignals((signal) => bar.log(`${signal}: stopping as soon as it can be gone on from …`))
  // The pace counts from the first report: what was done before this run took no time in it.
  let first: { done: number; at: number } | null = null
  try {
    const value = await work(async (done) => {
      // Networks block the event loop: signals are heard only when it turns.
      await setImmediate()
      const now = performance.now()
      first ??= { done, at: now }
      bar.show(Math.floor(done), total, formatLeft(now - first.at, done - first.done, total - first.done))
      return stop.signal !== null
    })
    return { value, stopped: stop.signal === null ? null : stop.exitCode }
  } finally {
    stop.release()
    bar.end()
  }
}
