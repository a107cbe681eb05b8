import type { StepReport } from '../../training/loop.ts'

/** How fast a run goes, by its latest steps. */
export interface Pace {
  /** Takes a step that has just ended. */
  note(report: StepReport): void
  /** The next step begins now: what passed since the last is not counted. */
  restart(): void
  /** Milliseconds of the latest steps, oldest first. */
  readonly milliseconds: readonly number[]
  /** Seconds per step. */
  stepTime(): number
  /** Of the time, smoothed: the part spent waiting for batches, 0 … 1. */
  dataWait(): number
}

/** Steps that are looked back at. */
const latest = 50

export function createPace(): Pace {
  const milliseconds: number[] = []
  let dataWait = 0
  let before = performance.now()
  return {
    note(report) {
      milliseconds.push(performance.now() - before)
      if (milliseconds.length > latest) milliseconds.shift()
      dataWait += (report.dataWait - dataWait) / milliseconds.length
    },
    restart() {
      before = performance.now()
    },
    milliseconds,
    stepTime: () => milliseconds.reduce((a, b) => a + b, 0) / milliseconds.length / 1000,
    dataWait: () => dataWait,
  }
}
