import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { changing } from '../support/files.ts'

/** metrics.jsonl of a run: a line of JSON per step and per validation, each with its `step`, in their order. */
export interface Metrics {
  note(line: { readonly step: number } & Record<string, unknown>): void
  /** Waits until all is on the disk: before a checkpoint is, so that no step before it can be missing. */
  sync(): void
  close(): void
}

/**
 * Opens metrics.jsonl to go on after `step`. What a killed run wrote after its last checkpoint goes, so that no step is
 * there twice, and so does half a line at the end. Cut in place: this works on a full disk too.
 * @throws CannotWrite
 */
export function openMetrics(path: string, step: number): Metrics {
  const file = changing(path, 0, () => openSync(path, 'a+'))
  changing(path, 0, () => ftruncateSync(file, wholeUntil(readFileSync(file, 'utf8'), step)))
  return {
    note(line) {
      const bytes = Buffer.from(`${JSON.stringify(line)}\n`)
      changing(path, bytes.length, () => {
        for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written)
      })
    },
    sync: () => changing(path, 0, () => fsyncSync(file)),
    close: () => closeSync(file),
  }
}

/** The length in bytes of the whole lines up to a step. */
function wholeUntil(text: string, step: number): number {
  let kept = 0
  for (const line of text.split('\n').slice(0, -1)) {
    try {
      if (!(JSON.parse(line).step <= step)) break
    } catch {
      break
    }
    kept += Buffer.byteLength(line) + 1
  }
  return kept
}
