import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { withWriteErrors } from '../support/files.ts'

/** The file metrics.jsonl of a run: one line of JSON per step and per validation, in order, each with its `step`. */
export interface Metrics {
  append(line: { readonly step: number } & Record<string, unknown>): void
  /** Flushes the file to disk. Call it before saving a checkpoint, so that no step up to the checkpoint can be lost. */
  sync(): void
  close(): void
}

/**
 * Opens metrics.jsonl for appending after `step`. Truncates what a killed run wrote after its last checkpoint, including an
 * incomplete line, so that no step appears twice. Truncating in place works on a full disk too.
 * @throws WriteError
 */
export function openMetrics(path: string, step: number): Metrics {
  const file = withWriteErrors(path, 0, () => openSync(path, 'a+'))
  withWriteErrors(path, 0, () => ftruncateSync(file, lengthUntil(readFileSync(file, 'utf8'), step)))
  return {
    append(line) {
      const bytes = Buffer.from(`${JSON.stringify(line)}\n`)
      withWriteErrors(path, bytes.length, () => {
        for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written)
      })
    },
    sync: () => withWriteErrors(path, 0, () => fsyncSync(file)),
    close: () => closeSync(file),
  }
}

/** Returns the length in bytes of the complete lines up to a step. */
function lengthUntil(text: string, step: number): number {
  let length = 0
  for (const line of text.split('\n').slice(0, -1)) {
    try {
      if (!(JSON.parse(line).step <= step)) break
    } catch {
      break
    }
    length += Buffer.byteLength(line) + 1
  }
  return length
}
