export interface ProgressBar {
  /** Shows how far the work is; `facts` stand behind the bar. */
  show(done: number, total: number, facts?: string): void
  /** A line of its own above the bar. */
  log(line: string): void
  /** Ends the bar, leaving it as it is. */
  end(): void
}

const barWidth = 24
const quietSeconds = 10

/**
 * One line that is drawn over and over on a terminal; elsewhere a line every ten seconds.
 * @param label what is being done
 */
export function progressBar(label: string, out: NodeJS.WriteStream = process.stdout): ProgressBar {
  let line = ''
  let shown = 0
  const elapsed = () => (performance.now() - shown) / 1000

  return {
    show(done, total, facts = '') {
      const filled = Math.floor((barWidth * done) / total)
      const bar = '━'.repeat(filled) + '╌'.repeat(barWidth - filled)
      line = `${label} ${bar} ${done}/${total}  ${facts}`.trimEnd()
      if (out.isTTY) {
        if (done < total && elapsed() < 0.1) return
        out.write(`\r\x1b[2K${line.slice(0, (out.columns ?? 80) - 1)}`)
      } else {
        if (done < total && elapsed() < quietSeconds) return
        out.write(`${line}\n`)
      }
      shown = performance.now()
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
