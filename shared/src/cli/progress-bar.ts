/** A progress bar on the terminal. */
export interface ProgressBar {
  /** Shows the progress; `details` follow the bar. */
  show(done: number, total: number, details?: string): void
  /** Prints a line above the bar. */
  log(line: string): void
  /** Ends the progress bar. It stays on the screen. */
  end(): void
}

const barWidth = 24
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

  return {
    show(done, total, details = '') {
      const filled = Math.floor((barWidth * done) / total)
      const bar = '━'.repeat(filled) + '╌'.repeat(barWidth - filled)
      line = `${label} ${bar} ${done}/${total}  ${details}`.trimEnd()
      if (out.isTTY) {
        if (done < total && elapsed() < interval.terminal) return
        out.write(`\r\x1b[2K${line.slice(0, (out.columns ?? 80) - 1)}`)
      } else {
        if (done < total && elapsed() < interval.file) return
        out.write(`${line}\n`)
      }
      lastUpdate = performance.now()
    },
    log(text) {
      out.write(out.isTTY ? `\r\x1b[2K${text}\n${line.slice(0, (out.columns ?? 80) - 1)}` : `${text}\n`)
    },
    end() {
      if (out.isTTY && line !== '') out.write(`\r\x1b[2K${line}\n`)
      line = ''
    },
  }
}
