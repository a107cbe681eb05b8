/** Seconds of training until the first save, and the max time between two saves. */
const seconds = { first: 60, interval: 600 }

/** Decides when to save by time, in addition to the intervals in steps, so that a slow run also shows results soon. */
export interface SaveTimer {
  isDue(): boolean
  /** Call after a save. */
  restart(): void
}

/** @param now returns the time in milliseconds */
export function createSaveTimer(now: () => number = () => performance.now()): SaveTimer {
  let last = now()
  let limit = seconds.first
  return {
    isDue: () => now() - last >= 1000 * limit,
    restart() {
      last = now()
      limit = seconds.interval
    },
  }
}
