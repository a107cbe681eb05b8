const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const
type Signal = keyof typeof numbers
const signals = Object.keys(numbers) as Signal[]

/**
 * Milliseconds within which a SIGINT is a repetition of the first one: a terminal sends it to the whole process group, and
 * npm and run.js forward the one that they receive.
 */
const repetition = 500

export interface Stop {
  /** First signal received; null if none was received yet. */
  readonly signal: Signal | null
  /** Exit code for a process that stops because of the signal: 128 + the number of the signal, as in shells. */
  readonly exitCode: number
  /** Restores the default handling of signals. */
  release(): void
}

/**
 * Converts SIGINT (Ctrl+C), SIGTERM and SIGHUP (closed terminal) into a stop flag that long tasks poll between steps.
 * A later SIGINT ends the process at once, even in the middle of a step.
 * @param onSignal receives the first signal
 */
export function stopOnSignals(onSignal: (signal: string) => void): Stop {
  let signal: Signal | null = null
  const stop = (received: NodeJS.Signals) => {
    if (signal !== null) return
    setTimeout(() => process.off('SIGINT', stop), repetition).unref()
    signal = received as Signal
    onSignal(received)
  }
  for (const name of signals) process.on(name, stop)
  // Writing to a closed terminal fails. The task must survive that to save its results.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  return {
    get signal() {
      return signal
    },
    get exitCode() {
      return signal === null ? 0 : 128 + numbers[signal]
    },
    release() {
      for (const name of signals) process.off(name, stop)
    },
  }
}
