/** Shows how far the sending is, on a terminal. */
export interface Sending {
  readonly sent: (count: number) => void
  end(): void
}

/** One line with what is sent, the rate and the time left. */
export function sendingBar(total: number, out: NodeJS.WriteStream = process.stdout): Sending {
  const began = performance.now()
  let done = 0
  let shown = 0
  return {
    sent(count) {
      done += count
      if (!out.isTTY || (performance.now() - shown < 100 && done < total)) return
      shown = performance.now()
      const rate = done / ((shown - began) / 1000)
      const left = Math.ceil((total - done) / rate)
      const of = `${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`
      out.write(`\r\x1b[2KSending ${of}, ${(rate / 1e6).toFixed(1)} MB/s, ${left} s left`)
    },
    end() {
      if (out.isTTY && done > 0) out.write('\r\x1b[2K')
    },
  }
}
