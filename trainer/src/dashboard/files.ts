import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { createHistory, type History } from './history.ts'

/** A sample grid of a run, by its file's name in `samples`. */
export interface SampleFile {
  readonly step: number
  readonly file: string
}

/** The grids of a run up to a step, oldest first: a run that was killed may have left later ones. */
export function listSamples(folder: string, last: number): SampleFile[] {
  const inside = join(folder, 'samples')
  if (!existsSync(inside)) return []
  return readdirSync(inside)
    .sort()
    .flatMap((file) => {
      const step = /^step-(\d+)\.png$/.exec(file)?.[1]
      return step === undefined || Number(step) > last ? [] : [{ step: Number(step), file }]
    })
}

/** Reads a file that grows, piece by piece. */
export interface MetricsReader {
  readonly history: History
  /** Reads what is new; true if there was anything. */
  read(): boolean
}

/** The history of a run's metrics.jsonl, to be kept up to date with `read`. */
export function readMetrics(folder: string): MetricsReader {
  const path = join(folder, 'metrics.jsonl')
  const history = createHistory()
  const buffer = Buffer.alloc(2 ** 20)
  let position = 0
  let rest = Buffer.alloc(0)

  /** Takes the whole lines; what comes after the last line break waits for its end. */
  function take(bytes: Buffer): void {
    const all = Buffer.concat([rest, bytes])
    const end = all.lastIndexOf('\n') + 1
    for (const line of all.toString('utf8', 0, end).split('\n')) if (line !== '') history.add(line)
    rest = all.subarray(end)
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
          take(Buffer.from(buffer.subarray(0, count)))
        }
        return true
      } finally {
        closeSync(file)
      }
    },
  }
}
