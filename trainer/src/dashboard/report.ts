import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeAtomically } from '../support/files.ts'
import { buildPage } from './build-page.ts'
import type { RunFacts, RunState } from './protocol.ts'
import { listSamples, openMetricsReader, type SampleFile } from './run-files.ts'

/** Max number of sample grids in a report. */
const maxSamples = 120

/**
 * Writes the run's `report.html`. It shows the final state of the dashboard and needs no server and no network access.
 * @returns the path of the file
 */
export async function writeReport(folder: string, facts: RunFacts, state: RunState): Promise<string> {
  const { history, read } = openMetricsReader(folder)
  read()
  const curves = history.curves(0)
  const samples = selectEvenly(listSamples(folder, curves.latest?.step ?? 0)).map(({ step, file }) => ({
    step,
    url: `data:image/png;base64,${readFileSync(join(folder, 'samples', file)).toString('base64')}`,
  }))
  const path = join(folder, 'report.html')
  writeAtomically(path, await buildPage({ facts, update: { ...curves, samples, state } }))
  return path
}

/** Returns at most `maxSamples` evenly spaced grids, including the first and the last. */
function selectEvenly(samples: readonly SampleFile[]): readonly SampleFile[] {
  if (samples.length <= maxSamples) return samples
  return Array.from(
    { length: maxSamples },
    (_, i) => samples[Math.round((i * (samples.length - 1)) / (maxSamples - 1))]!,
  )
}
