import { progressBar } from '@ddpm/shared/cli'
import type { UploadProgress } from './publish-model.ts'

const megabyte = 1e6

/** Shows megabytes sent, rate and time left. Prints nothing if the output is not a terminal. */
export function uploadProgress(out: NodeJS.WriteStream = process.stdout): UploadProgress {
  const started = performance.now()
  const bar = progressBar('Sending', out)
  let total = 0
  let done = 0
  return {
    start(bytes) {
      total = bytes
    },
    add(bytes) {
      done += bytes
      if (!out.isTTY) return
      const rate = done / ((performance.now() - started) / 1000)
      const details = `MB  ${(rate / megabyte).toFixed(1)} MB/s  ${Math.ceil((total - done) / rate)} s left`
      bar.show(Math.floor(done / megabyte), Math.ceil(total / megabyte), details)
    },
    end() {
      bar.end()
    },
  }
}
