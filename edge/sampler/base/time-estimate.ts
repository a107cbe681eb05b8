/** Returns the estimated remaining time in seconds, or null before there is enough data. */
export type EstimateSecondsLeft = (done: number, total: number) => number | null

/**
 * Creates an estimator of the remaining time, assuming a constant rate. The first call sets the baseline: work done
 * before it is ignored, because first steps compile shaders and first bytes wait for a connection.
 */
export function createTimeEstimate(now: () => number = () => performance.now()): EstimateSecondsLeft {
  let baseline: { done: number; time: number } | null = null
  return (done, total) => {
    baseline ??= { done, time: now() }
    if (done <= baseline.done) return null
    return ((now() - baseline.time) / 1000 / (done - baseline.done)) * (total - done)
  }
}
