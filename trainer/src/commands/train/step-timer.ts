import type { StepReport } from '../../training/loop.ts'

/** Measures the latest steps of a run. */
export interface StepTimer {
  /** Records a step that has just ended. */
  record(report: StepReport): void
  /** Starts the next step now. The time since the last step is not measured. */
  restart(): void
  /** Durations of the latest steps in milliseconds, oldest first. */
  readonly milliseconds: readonly number[]
  secondsPerStep(): number
  /** Fraction of the time that was spent waiting for batches, smoothed, 0 to 1. */
  dataWait(): number
}

/** Number of latest steps to average over. */
const window = 50

export function createStepTimer(): StepTimer {
  const milliseconds: number[] = []
  let dataWait = 0
  let start = performance.now()
  return {
    record(report) {
      milliseconds.push(performance.now() - start)
      if (milliseconds.length > window) milliseconds.shift()
      dataWait += (report.dataWait - dataWait) / milliseconds.length
    },
    restart() {
      start = performance.now()
    },
    milliseconds,
    secondsPerStep: () => milliseconds.reduce((a, b) => a + b, 0) / milliseconds.length / 1000,
    dataWait: () => dataWait,
  }
}
