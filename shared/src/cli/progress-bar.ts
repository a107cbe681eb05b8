/** A progress bar on the terminal. */
export interface ProgressBar {
  /** Shows the progress; `details` follow the bar. */
  show(done: number, total: number, details?: string): void
  /** Prints a line above the bar. */
  log(line: string): void
  /** Ends the progress bar. It stays on the screen. */
  end(): void
}

/** Width of the bar in columns. It is shortened on a narrow terminal, so that the details fit. */
const barWidth = { min: 6, max: 24 }
/** Seconds between two updates on a terminal, and between two lines elsewhere. */
const interval = { terminal: 0.1, file: 10 }

/**
 * Creates a progress bar: a line that is rewritten on a terminal, or a new line every ten seconds elsewhere.
 * @param label name of the task
 */
export function progressBar(label: string, out: NodeJS.WriteStream = process.stdout): ProgressBar {
  let line = ''
  let lastUpdate = 0
  const elapsed = () => (performance.now() - lastUpdate) / 1000
  // The last column stays empty: some terminals start a new line when it is written.
  const columns = () => (out.columns ?? 80) - 1

  return {
    show(done, total, details = '') {
      const numbers = `${done}/${total}  ${details}`.trimEnd()
      const space = out.isTTY ? columns() - `${label}  ${numbers}`.length : barWidth.max
      const width = Math.min(barWidth.max, Math.max(barWidth.min, space))
      const filled = Math.floor((width * done) / total)
      line = `${label} ${'━'.repeat(filled)}${'╌'.repeat(width - filled)} ${numbers}`
      if (out.isTTY) {
        if (done < total && elapsed() < interval.terminal) return
        out.write(`\r\x1b[2K${line.slice(0, columns())}`)
      } else {
        if (done < total && elapsed() < interval.file) return
        out.write(`${line}\n`)
      }
      lastUpdate = performance.now()
    },
    log(text) {
      out.write(out.isTTY ? `\r\x1b[2K${text}\n${line.slice(0, columns())}` : `${text}\n`)
    },
    end() {
      if (out.isTTY && line !== '') out.write(`\r\x1b[2K${line}\n`)
      line = ''
    },
  }
}
