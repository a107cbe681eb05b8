const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const
type Signal = keyof typeof numbers
const signals = Object.keys(numbers) as Signal[]

export interface Stop {
  /** The signal that asked to stop; null until one does. */
  readonly signal: Signal | null
  /** What a process that ended by the signal returns, as shells count. */
  readonly exitCode: number
  /** Signals end the process again, as they did before. */
  release(): void
}

/**
 * Turns Ctrl+C, SIGTERM and a terminal that was closed into a wish to stop, which whoever works looks at between steps.
 * A second Ctrl+C finds no handler and ends the process at once, even in the middle of a step; the other signals may
 * come more than once for one cause, from the system and from npm, and are not counted.
 * @param onSignal told of the first signal
 */
export function stopOnSignals(onSignal: (signal: string) => void): Stop {
  let signal: Signal | null = null
  const stop = (received: NodeJS.Signals) => {
    process.off('SIGINT', stop)
    if (signal !== null) return
    signal = received as Signal
    onSignal(received)
  }
  for (const name of signals) process.on(name, stop)
  // Writing to a terminal that is gone fails; the training is worth more than what it would say.
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
