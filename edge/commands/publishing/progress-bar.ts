import type { ProgressBar } from './publish-model.ts'

/** Creates a progress line with bytes sent, rate and time left. Prints nothing if the output is not a terminal. */
export function progressBar(out: NodeJS.WriteStream = process.stdout): ProgressBar {
  const started = performance.now()
  let total = 0
  let done = 0
  let lastUpdate = 0
  return {
    start(bytes) {
      total = bytes
    },
    add(bytes) {
      done += bytes
      if (!out.isTTY || (performance.now() - lastUpdate < 100 && done < total)) return
      lastUpdate = performance.now()
      const rate = done / ((lastUpdate - started) / 1000)
      const secondsLeft = Math.ceil((total - done) / rate)
      const sent = `${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`
      out.write(`\r\x1b[2KSending ${sent}, ${(rate / 1e6).toFixed(1)} MB/s, ${secondsLeft} s left`)
    },
    end() {
      if (out.isTTY && done > 0) out.write('\r\x1b[2K')
    },
  }
}
