import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeAtomically } from '../support/files.ts'
import { listSamples, readMetrics, type SampleFile } from './files.ts'
import { buildPage } from './page.ts'
import type { RunFacts, RunState } from './protocol.ts'

/** Grids in a report; of more, evenly spaced ones are taken, the first and the last always. */
const mostSamples = 120

function spread(samples: readonly SampleFile[]): readonly SampleFile[] {
  if (samples.length <= mostSamples) return samples
  return Array.from(
    { length: mostSamples },
    (_, i) => samples[Math.round((i * (samples.length - 1)) / (mostSamples - 1))]!,
  )
}

/**
 * Writes `report.html` of a run: the dashboard as it is now, in one file that needs no server and no network.
 * @returns the file's path
 */
export async function writeReport(folder: string, facts: RunFacts, state: RunState): Promise<string> {
  const { history, read } = readMetrics(folder)
  read()
  const curves = history.curves(0)
  const samples = spread(listSamples(folder, curves.latest?.step ?? 0)).map(({ step, file }) => ({
    step,
    url: `data:image/png;base64,${readFileSync(join(folder, 'samples', file)).toString('base64')}`,
  }))
  const path = join(folder, 'report.html')
  writeAtomically(path, await buildPage({ facts, update: { ...curves, samples, state } }))
  return path
}
