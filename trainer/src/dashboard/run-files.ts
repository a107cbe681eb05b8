import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { createHistory, type History } from './history.ts'

/** A sample grid in the run's folder `samples`. */
export interface SampleFile {
  readonly step: number
  readonly file: string
}

/**
 * Lists the sample grids of a run, oldest first.
 * @param lastStep last step to include. A killed run may have written grids after its last checkpoint; they are omitted.
 */
export function listSamples(folder: string, lastStep: number): SampleFile[] {
  const samples = join(folder, 'samples')
  if (!existsSync(samples)) return []
  return readdirSync(samples)
    .sort()
    .flatMap((file) => {
      const step = /^step-(\d+)\.png$/.exec(file)?.[1]
      return step === undefined || Number(step) > lastStep ? [] : [{ step: Number(step), file }]
    })
}

/** Reads metrics.jsonl incrementally while the run appends to it. */
export interface MetricsReader {
  readonly history: History
  /** Reads new lines into the history. Returns whether the file has grown. */
  read(): boolean
}

/** Creates a reader of a run's metrics.jsonl. The file may be created later. */
export function openMetricsReader(folder: string): MetricsReader {
  const path = join(folder, 'metrics.jsonl')
  const history = createHistory()
  const buffer = Buffer.alloc(2 ** 20)
  let position = 0
  let partialLine = Buffer.alloc(0)

  /** Adds all complete lines to the history. An incomplete last line is buffered until the rest of it has been read. */
  function addLines(bytes: Buffer): void {
    const all = Buffer.concat([partialLine, bytes])
    const end = all.lastIndexOf('\n') + 1
    for (const line of all.toString('utf8', 0, end).split('\n')) if (line !== '') history.add(line)
    partialLine = all.subarray(end)
  }

  return {
    history,
    read() {
      if (!existsSync(path)) return false
      const file = openSync(path, 'r')
      try {
        if (fstatSync(file).size === position) return false
        for (let count = 1; count > 0; position += count) {
          count = readSync(file, buffer, 0, buffer.length, position)
          addLines(Buffer.from(buffer.subarray(0, count)))
        }
        return true
      } finally {
        closeSync(file)
      }
    },
  }
}
