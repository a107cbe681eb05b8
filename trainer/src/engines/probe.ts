import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Candidate } from '../step/engine.ts'
import type { StepSpec } from '../step/step.ts'
import type { EngineOptions } from './open.ts'

/** What the other process is asked. */
export interface ProbeRequest {
  readonly candidate: Candidate
  readonly spec: StepSpec
  readonly options: EngineOptions
}

/** Whether a candidate works here, and how fast a step is, or why it does not. */
export type ProbeResult =
  | { readonly works: true; readonly description: string; readonly milliseconds: number }
  | { readonly works: false; readonly reason: string }

const program = fileURLToPath(new URL('measure.ts', import.meta.url))

/**
 * Measures a training step in a process of its own: a driver may take its process down with it, or never answer.
 * @param seconds to wait at most
 */
export function probe(
  candidate: Candidate,
  spec: StepSpec,
  { seconds, ...options }: { seconds: number } & EngineOptions,
): Promise<ProbeResult> {
  const child = fork(program, {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let complaint = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2000)
  })
  child.send({ candidate, spec, options } satisfies ProbeRequest)
  return new Promise((resolve) => {
    const late = setTimeout(() => {
      child.kill('SIGKILL')
      resolve({ works: false, reason: `it did not do a few steps within ${seconds} s` })
    }, seconds * 1000)
    child.on('message', (finding) => resolve(finding as ProbeResult))
    child.on('close', (code, signal) => {
      clearTimeout(late)
      const last = complaint.trim().split('\n').at(-1)
      resolve({
        works: false,
        reason: `its process ended with ${signal ?? `status ${code}`}${last ? `: ${last}` : ''}`,
      })
    })
  })
}
