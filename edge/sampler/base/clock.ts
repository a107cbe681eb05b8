/**
 * Tells from what is done how long the rest takes, in seconds; null as long as nothing is known. What was done when it
 * is first asked does not count: first steps compile, first bytes wait for a connection.
 */
export function createClock(now: () => number = () => performance.now()): ClockReading {
  let from: { done: number; at: number } | null = null
  return (done, total) => {
    from ??= { done, at: now() }
    if (done <= from.done) return null
    return ((now() - from.at) / 1000 / (done - from.done)) * (total - done)
  }
}

export type ClockReading = (done: number, total: number) => number | null
