import { type ProgressBar, progressBar } from '@ddpm/shared/cli'
import { formatTimeLeft } from '../../support/duration.ts'

/**
 * Creates a progress bar that estimates the remaining time from the speed since the first report. Work that was done
 * earlier, for example cached by an earlier run, does not affect the estimate. Fractions of `done` are rounded down.
 */
export function timedProgress(label: string): ProgressBar {
  const bar = progressBar(label)
  let first: { done: number; at: number } | null = null
  return {
    ...bar,
    show(done, total) {
      const now = performance.now()
      first ??= { done, at: now }
      bar.show(Math.floor(done), total, formatTimeLeft(now - first.at, done - first.done, total - first.done))
    },
  }
}
